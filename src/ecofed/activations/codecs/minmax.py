"""The paper's codec."""

from __future__ import annotations

import math

import numpy as np

from ecofed.activations.codecs.base import Codec, EncodedActivation, Graph
from ecofed.config.codecs import MinMaxFacts
from ecofed.errors import WireError


class MinMaxCodec(MinMaxFacts, Codec):
    """The paper's: symmetric int8, ``scale = max / 127`` of each batch. After a ReLU only codes 0..127 occur."""

    bits_per_entry = 8.0
    symbol_bits = 8

    def scales_of(self, samples: int, batch_size: int) -> int:
        return math.ceil(samples / batch_size)

    def encode(self, h_NCHW: np.ndarray, batch_size: int) -> EncodedActivation:
        self.check_input(h_NCHW)
        flat = h_NCHW.reshape(len(h_NCHW), self.entries)
        starts = range(0, len(flat), batch_size)
        # An all-zero (or, without a ReLU, all-negative) batch has scale 0 and decodes to zeros.
        scales = np.array([max(flat[at : at + batch_size].max(), 0) / 127 for at in starts], np.float32)
        per_row = np.repeat(scales, batch_size)[: len(flat), None]
        # A scale so small that it is stored with few digits lets a quotient overflow; it is clipped all the same.
        with np.errstate(over="ignore"):
            levels = np.divide(flat, per_row, out=np.zeros_like(flat), where=per_row > 0)
        codes = np.clip(np.rint(levels), -128, 127).astype(np.int8)
        return EncodedActivation(rows=codes.view(np.uint8), scales=scales, saturated_fraction=0.0)

    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:
        self.check_rows(rows)
        if scale_N is None or scale_N.shape != (len(rows),):
            raise WireError("minmax codes need one scale a row")
        h_NCHW: np.ndarray = (rows.view(np.int8) * scale_N[:, None]).reshape(len(rows), *self.shape_CHW)
        return h_NCHW

    def symbols(self, rows: np.ndarray) -> np.ndarray:
        return rows.reshape(len(rows), *self.shape_CHW)

    def rows_of_symbols(self, codes_NCHW: np.ndarray) -> np.ndarray:
        return codes_NCHW.reshape(len(codes_NCHW), self.entries)

    def to_onnx(self, graph: Graph, activation: str) -> str:
        lowest = graph.constant(np.array(np.finfo(np.float32).tiny, np.float32))
        largest = graph.node("Max", graph.node("ReduceMax", activation, keepdims=0), lowest)
        scale = graph.node("Div", largest, graph.constant(np.array(127, np.float32)))
        limits = (graph.constant(np.array(limit, np.float32)) for limit in (-128, 127))
        rounded = graph.node("Round", graph.node("Div", activation, scale))
        return graph.node("Mul", graph.node("Clip", rounded, *limits), scale)
