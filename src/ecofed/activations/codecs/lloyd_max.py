"""Levels where the values are."""

from __future__ import annotations

import numpy as np

from ecofed.activations.codecs.base import Codec, Graph
from ecofed.activations.codecs.uniform import UniformCodec
from ecofed.config.codecs import LloydMaxFacts

#: Levels in units of a channel's limit: Lloyd's algorithm on activations of Tiny-ImageNet images after two blocks of
#: VGG11, all channels pooled; the lowest is held at zero. Against equal steps the squared error on CIFAR-10 (JPEG)
#: falls by 10, 25 and 39 %. With one bit there is nothing to choose, and from 5 bits on equal steps are fine enough.
LEVELS: dict[int, tuple[float, ...]] = {
    2: (0.0, 0.2848, 0.6007, 1.0467),
    3: (0.0, 0.1086, 0.2188, 0.3355, 0.4646, 0.6163, 0.8142, 1.1206),
    4: (
        *(0.0, 0.0475, 0.0946, 0.1423, 0.19, 0.2392, 0.2902, 0.3441),
        *(0.4007, 0.4629, 0.531, 0.61, 0.7023, 0.8102, 0.9488, 1.1822),
    ),
}


class LloydMaxCodec(LloydMaxFacts, UniformCodec):
    """Unsigned levels, dense where entries are frequent; 2-4 bits, packed like ``uniform``.

    Best without entropy coding: equal steps give an entropy coder more to save.
    """

    def __init__(self, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None, bits: int = 4) -> None:
        self.check_bits(bits)
        super().__init__(shape_CHW, upper_C, bits)
        self._levels_K = np.array(LEVELS[bits], np.float32)
        self._thresholds = (self._levels_K[1:] + self._levels_K[:-1]) / 2

    def codes(self, h_NCHW: np.ndarray) -> np.ndarray:
        # Clipped before the division: an entry far above the limit must not overflow.
        levels = np.clip(h_NCHW, 0, 2 * self.upper_C11) / self.upper_C11
        codes = np.zeros(h_NCHW.shape, np.uint8)
        for threshold in self._thresholds:
            codes += levels > threshold
        return codes

    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
        self.check_rows(rows)
        h_NCHW: np.ndarray = self._levels_K[self.symbols(rows)] * self.upper_C11
        return h_NCHW

    def to_onnx(self, graph: Graph, activation: str) -> str:
        return Codec.to_onnx(self, graph, activation)
