"""No compression."""

from __future__ import annotations

import numpy as np

from ecofed.activations.codecs.base import NO_SCALES, Codec, EncodedActivation, Graph
from ecofed.config.codecs import Float32Facts
from ecofed.errors import WireError


class Float32Codec(Float32Facts, Codec):
    """Lossless: the floats themselves, little-endian."""

    bits_per_entry = 32.0

    def encode(self, h_NCHW: np.ndarray, batch_size: int) -> EncodedActivation:  # noqa: ARG002
        self.check_input(h_NCHW)
        rows = np.ascontiguousarray(h_NCHW, "<f4").reshape(len(h_NCHW), self.entries).view(np.uint8)
        return EncodedActivation(rows=rows, scales=NO_SCALES, saturated_fraction=0.0)

    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
        self.check_rows(rows)
        return np.ascontiguousarray(rows).view("<f4").reshape(len(rows), *self.shape_CHW)

    def to_onnx(self, graph: Graph, activation: str) -> str:  # noqa: ARG002
        return activation

    def check_content(self, rows: np.ndarray) -> None:
        h_NCHW = self.decode(rows)
        if not np.isfinite(h_NCHW).all():
            raise WireError("upload with non-finite activations (NaN or infinity)")
        if h_NCHW.size and np.abs(h_NCHW).max() > self.largest:
            raise WireError(f"upload with activations above {self.largest:g}")
