"""A cosine transform over the map, and one step for all: what images compress by, for the activations of a front."""

from __future__ import annotations

import numpy as np

from ecofed.activations.codecs.base import NO_SCALES, Codec, EncodedActivation, Graph
from ecofed.config.codecs import DctFacts

MIDDLE = 128
#: A coefficient becomes the next larger code above this part of a step: small ones cost more bytes than they tell.
DEAD_ZONE = 0.6


class DctCodec(DctFacts, Codec):
    """Two-dimensional DCT-II of each channel, 255 equal steps below the channel's limit, one byte a coefficient.

    For fronts that end in principal components in units of one step (``front=auto`` of a backbone), around half the
    limit. Nearly all codes are zero; the entropy coder makes a fiftieth of the bytes of them.
    """

    symbol_bits = 8
    bits_per_entry = 8.0
    entropy_model = "positions"
    most_entries_a_byte = 40

    def __init__(self, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None, bits: int = 8) -> None:
        super().__init__(shape_CHW, upper_C, bits)
        self.check_bits(bits)
        self._step_C11 = self.upper_C11 / np.float32(255)
        self._rows_HH, self._columns_WW = (_cosines(side) for side in shape_CHW[1:])

    def encode(self, h_NCHW: np.ndarray, batch_size: int) -> EncodedActivation:  # noqa: ARG002
        self.check_input(h_NCHW)
        centred = np.clip(h_NCHW, 0, self.upper_C11) - self.upper_C11 / 2
        levels = (self._rows_HH @ centred @ self._columns_WW.T) / self._step_C11
        codes = np.sign(levels) * np.floor(np.abs(levels) + (1 - DEAD_ZONE))
        saturated = float((np.abs(codes) > MIDDLE - 1).mean()) if codes.size else 0.0
        rows = (np.clip(codes, 1 - MIDDLE, MIDDLE - 1) + MIDDLE).astype(np.uint8)
        return EncodedActivation(
            rows=rows.reshape(len(rows), self.entries), scales=NO_SCALES, saturated_fraction=saturated
        )

    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
        self.check_rows(rows)
        levels = (self.symbols(rows).astype(np.float32) - MIDDLE) * self._step_C11
        h_NCHW: np.ndarray = self._rows_HH.T @ levels @ self._columns_WW + self.upper_C11 / 2
        return h_NCHW

    def symbols(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(len(rows), *self.shape_CHW)

    def rows_of_symbols(self, codes_NCHW: np.ndarray) -> np.ndarray:
        return codes_NCHW.reshape(len(codes_NCHW), self.entries)

    def to_onnx(self, graph: Graph, activation: str) -> str:
        def constant(values: np.ndarray) -> str:
            return graph.constant(np.ascontiguousarray(values, np.float32))

        rows, columns = self._rows_HH, self._columns_WW
        upper, zero, step = (constant(values) for values in (self.upper_C11, np.zeros(1), self._step_C11))
        half = constant(self.upper_C11 / 2)
        centred = graph.node("Sub", graph.node("Max", graph.node("Min", activation, upper), zero), half)
        transformed = graph.node("MatMul", graph.node("MatMul", constant(rows), centred), constant(columns.T))
        levels = graph.node("Div", transformed, step)
        size = graph.node("Floor", graph.node("Add", graph.node("Abs", levels), constant(np.array(1 - DEAD_ZONE))))
        codes = graph.node("Mul", graph.node("Sign", levels), graph.node("Min", size, constant(np.array(MIDDLE - 1))))
        values = graph.node("Mul", codes, step)
        back = graph.node("MatMul", graph.node("MatMul", constant(rows.T), values), constant(columns))
        return graph.node("Add", back, half)


def _cosines(side: int) -> np.ndarray:
    """The orthonormal DCT-II, float32 (side, side); row k is frequency k."""
    frequency, place = np.arange(side)[:, None], np.arange(side)[None]
    rows = np.cos(np.pi * frequency * (2 * place + 1) / (2 * side)) * np.sqrt(2 / side)
    rows[0] /= np.sqrt(2)
    matrix: np.ndarray = rows.astype(np.float32)
    return matrix
