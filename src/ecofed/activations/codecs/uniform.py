"""Equal steps."""

from __future__ import annotations

import numpy as np

from ecofed.activations.codecs.base import NO_SCALES, Codec, EncodedActivation, Graph
from ecofed.activations.codecs.packing import pack, unpack
from ecofed.config.codecs import UniformFacts


class UniformCodec(UniformFacts, Codec):
    """Unsigned uniform levels between 0 and a constant upper limit per channel, 1-8 bits, packed.

    The limits are constants of the front's bundle, so a code depends on its own image alone.
    """

    def __init__(self, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None, bits: int = 8) -> None:
        self.bits_per_entry = float(bits)
        self.symbol_bits = bits
        super().__init__(shape_CHW, upper_C, bits)
        self._step_C11 = self.upper_C11 / np.float32((1 << bits) - 1)

    def encode(self, h_NCHW: np.ndarray, batch_size: int) -> EncodedActivation:  # noqa: ARG002
        self.check_input(h_NCHW)
        codes = self.codes(h_NCHW)
        saturated = float((h_NCHW > self.upper_C11).mean()) if h_NCHW.size else 0.0
        rows = pack(codes.reshape(len(codes), self.entries), self.bits)
        return EncodedActivation(rows=rows, scales=NO_SCALES, saturated_fraction=saturated)

    def codes(self, h_NCHW: np.ndarray) -> np.ndarray:
        """The level's number of each entry, uint8, same shape."""
        # Clipped before the division: an entry far above the limit must not overflow.
        levels = np.clip(h_NCHW, 0, self.upper_C11)
        levels /= self._step_C11
        np.rint(levels, out=levels)
        # The quotient of the limit and its step may round to a hair above the top level, never to the next one.
        codes: np.ndarray = levels.astype(np.uint8)
        return codes

    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
        self.check_rows(rows)
        h_NCHW: np.ndarray = self.symbols(rows) * self._step_C11
        return h_NCHW

    def symbols(self, rows: np.ndarray) -> np.ndarray:
        return unpack(rows, self.bits, self.entries).reshape(len(rows), *self.shape_CHW)

    def rows_of_symbols(self, codes_NCHW: np.ndarray) -> np.ndarray:
        return pack(codes_NCHW.reshape(len(codes_NCHW), self.entries), self.bits)

    def to_onnx(self, graph: Graph, activation: str) -> str:
        top = (1 << self.bits) - 1
        step = graph.constant(self._step_C11[np.newaxis])
        rounded = graph.node("Round", graph.node("Div", activation, step))
        limits = (graph.constant(np.array(limit, np.float32)) for limit in (0, top))
        return graph.node("Mul", graph.node("Clip", rounded, *limits), step)
