"""Augmentation of activations on the server, where no new view of an image can be had.

A convolutional front commutes, up to its borders, with mirroring and with shifts by whole strides, so a mirrored or
shifted activation is close to the activation of the mirrored or shifted image. Shape legend: B batch, C channels,
H x W spatial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class FeatureAugmentation:
    """Each is the probability that it happens to a sample of a batch."""

    flip: float = 0.0
    """Mirror left and right."""
    shift: float = 0.0
    """Move by one entry, in one of eight directions; zeros come in from outside."""
    cutout: float = 0.0
    """Zero a square of a third of the height, anywhere, in all channels."""

    @property
    def active(self) -> bool:
        return bool(self.flip or self.shift or self.cutout)

    def __call__(self, h_BCHW: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The batch, augmented; the input is left as it is, and may be returned."""
        if not self.active:
            return h_BCHW
        count, _, height, width = (int(size) for size in h_BCHW.shape)
        # Every draw is made whatever the probabilities are: switching one on leaves the others' draws alone.
        flipped_B = random.random(count) < self.flip
        shifted_B = random.random(count) < self.shift
        direction_B = random.integers(0, 8, count)
        cut_B = random.random(count) < self.cutout
        corner_2B = random.random((2, count))
        h_BCHW = h_BCHW.copy()
        if flipped_B.any():
            h_BCHW[flipped_B] = h_BCHW[flipped_B, :, :, ::-1]
        for direction in np.unique(direction_B[shifted_B]):
            chosen = shifted_B & (direction_B == direction)
            h_BCHW[chosen] = shifted(h_BCHW[chosen], *_DIRECTIONS[direction])
        size = max(1, height // 3)
        for sample in np.flatnonzero(cut_B):
            top, left = (corner_2B[:, sample] * (height - size + 1, width - size + 1)).astype(int)
            h_BCHW[sample, :, top : top + size, left : left + size] = 0
        return h_BCHW


_DIRECTIONS = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]


def shifted(h_BCHW: np.ndarray, down: int, right: int) -> np.ndarray:
    """The batch moved by whole entries (negative: up, left); what leaves is lost, zeros come in."""
    height, width = h_BCHW.shape[2:]
    moved = np.zeros_like(h_BCHW)
    moved[:, :, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = h_BCHW[
        :, :, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return moved
