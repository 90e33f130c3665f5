"""A codec of one's own: levels that lie closer together near zero, where most activations are.

What is rounded is the square root of an entry in units of its channel's limit::

    ecofed run quickstart --plugin examples/own_codec.py --set codec.name=root --set codec.bits=3
    ecofed compare quickstart --plugin examples/own_codec.py --methods ecofed --set codec.name=root
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

import ecofed
from ecofed.activations import Codec, EncodedActivation, Graph, pack, unpack


@ecofed.register_codec
class RootCodec(Codec):
    """``bits`` a code, packed; a device encodes with numpy, a server decodes single rows of its buffer."""

    name = "root"
    allowed_bits: ClassVar[range] = range(2, 9)
    uses_limits = True
    exportable = True

    def __init__(self, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None, bits: int = 4) -> None:
        super().__init__(shape_CHW, upper_C, bits)
        self.check_bits(bits)
        self.bits_per_entry = float(bits)
        self.symbol_bits = bits
        self.top = np.float32((1 << bits) - 1)

    def encode(self, h_NCHW: np.ndarray, batch_size: int) -> EncodedActivation:  # noqa: ARG002 - no scales of batches
        self.check_input(h_NCHW)
        relative = np.clip(h_NCHW, 0, self.upper_C11) / self.upper_C11
        codes = np.rint(np.sqrt(np.minimum(relative, 1)) * self.top).astype(np.uint8)
        saturated = float((h_NCHW > self.upper_C11).mean()) if h_NCHW.size else 0.0
        return EncodedActivation(rows=self.rows_of_symbols(codes), saturated_fraction=saturated)

    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
        self.check_rows(rows)
        h_NCHW: np.ndarray = np.square(self.symbols(rows) / self.top) * self.upper_C11
        return h_NCHW

    # Codes of single entries: what the entropy coder models, so that an upload is shorter than its codes.

    def symbols(self, rows: np.ndarray) -> np.ndarray:
        return unpack(rows, self.bits, self.entries).reshape(len(rows), *self.shape_CHW)

    def rows_of_symbols(self, codes_NCHW: np.ndarray) -> np.ndarray:
        return pack(codes_NCHW.reshape(len(codes_NCHW), self.entries), self.bits)

    # There and back, for the trained network on devices without PyTorch (``ecofed export network``).

    def to_onnx(self, graph: Graph, activation: str) -> str:
        limit, top = graph.constant(self.upper_C11[np.newaxis]), graph.constant(np.array(self.top))
        zero, one = graph.constant(np.array(0, np.float32)), graph.constant(np.array(1, np.float32))
        root = graph.node("Sqrt", graph.node("Clip", graph.node("Div", activation, limit), zero, one))
        level = graph.node("Div", graph.node("Round", graph.node("Mul", root, top)), top)
        return graph.node("Mul", graph.node("Mul", level, level), limit)
