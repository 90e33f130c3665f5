"""Only the largest entries."""

from __future__ import annotations

import math

import numpy as np

from ecofed.activations.codecs.base import NO_SCALES, Codec, EncodedActivation
from ecofed.activations.codecs.packing import pack, unpack
from ecofed.config.codecs import TopKFacts
from ecofed.errors import WireError


class TopKCodec(TopKFacts, Codec):
    """Of each sample the k largest entries, in units of their channel's limit, with a mask of where they are.

    A row is the mask (a bit an entry), then k codes of equal steps between 0 and the limit.
    """

    def __init__(
        self,
        shape_CHW: tuple[int, int, int],
        upper_C: np.ndarray | None = None,
        bits: int = 2,
        density: float = 0.1,
    ) -> None:
        super().__init__(shape_CHW, upper_C, bits)
        self.check_bits(bits)
        self.symbol_bits = bits + 1
        self.kept = max(1, round(density * self.entries))
        self._mask_bytes = math.ceil(self.entries / 8)
        self.bits_per_entry = 8 * self.row_bytes / self.entries
        self._step_C11 = self.upper_C11 / np.float32((1 << bits) - 1)

    @property
    def row_bytes(self) -> int:
        return self._mask_bytes + math.ceil(self.kept * self.bits / 8)

    def encode(self, h_NCHW: np.ndarray, batch_size: int) -> EncodedActivation:  # noqa: ARG002
        self.check_input(h_NCHW)
        relative_NE = (np.clip(h_NCHW, 0, 2 * self.upper_C11) / self.upper_C11).reshape(len(h_NCHW), self.entries)
        # A stable sort: of equal entries the first are kept, on every machine.
        chosen_NK = np.sort(np.argsort(-relative_NE, axis=1, kind="stable")[:, : self.kept], axis=1)
        values_NK = np.take_along_axis(relative_NE, chosen_NK, axis=1)
        codes_NK = np.rint(np.minimum(values_NK, 1) * np.float32((1 << self.bits) - 1)).astype(np.uint8)
        symbols_NE = np.zeros((len(h_NCHW), self.entries), np.uint8)
        np.put_along_axis(symbols_NE, chosen_NK, codes_NK + 1, axis=1)
        saturated = float((h_NCHW > self.upper_C11).mean()) if h_NCHW.size else 0.0
        rows = self.rows_of_symbols(symbols_NE.reshape(h_NCHW.shape))
        return EncodedActivation(rows=rows, scales=NO_SCALES, saturated_fraction=saturated)

    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:  # noqa: ARG002
        self.check_rows(rows)
        h_NCHW: np.ndarray = np.maximum(self.symbols(rows), 1).astype(np.float32) - 1
        h_NCHW *= self._step_C11
        return h_NCHW

    def check_content(self, rows: np.ndarray) -> None:
        mask_NE = unpack(rows[:, : self._mask_bytes], 1, self.entries)
        if (mask_NE.sum(axis=1, dtype=np.int64) != self.kept).any():
            raise WireError(f"upload with a mask that does not keep {self.kept} entries a sample")

    def symbols(self, rows: np.ndarray) -> np.ndarray:
        """0 for an entry that was not kept, its code plus one for the others."""
        self.check_content(rows)
        mask_NE = unpack(rows[:, : self._mask_bytes], 1, self.entries).astype(bool)
        symbols_NE = np.zeros(mask_NE.shape, np.uint8)
        symbols_NE[mask_NE] = unpack(rows[:, self._mask_bytes :], self.bits, self.kept).reshape(-1) + np.uint8(1)
        return symbols_NE.reshape(len(rows), *self.shape_CHW)

    def rows_of_symbols(self, codes_NCHW: np.ndarray) -> np.ndarray:
        codes_NE = codes_NCHW.reshape(len(codes_NCHW), self.entries)
        mask_NE = codes_NE > 0
        if (mask_NE.sum(axis=1) != self.kept).any() or codes_NE.max(initial=0) > 1 << self.bits:
            raise WireError(f"upload that does not keep {self.kept} entries a sample")
        codes_NK = (codes_NE[mask_NE] - np.uint8(1)).reshape(len(codes_NE), self.kept)
        return np.concatenate([pack(mask_NE.astype(np.uint8), 1), pack(codes_NK, self.bits)], axis=1)
