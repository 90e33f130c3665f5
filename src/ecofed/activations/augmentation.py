"""Augmentation of activations on the server, where no new view of an image can be had.

A convolutional front commutes, up to its borders, with mirroring and with shifts by whole strides, so a mirrored or
shifted activation is close to the activation of the mirrored or shifted image. With scaling it does not: an enlarged
activation has the edges of the image where the enlarged image would have them, and is smoother. Shape legend: B batch,
C channels, H x W spatial.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CROP_AREA = (0.35, 1.0)
"""How much of an activation a random part shows; the same as of photographs (``data/transforms.py``)."""
CROP_RATIO = (math.log(3 / 4), math.log(4 / 3))
"""Of its sides, as a logarithm."""


@dataclass(frozen=True, kw_only=True)
class FeatureAugmentation:
    """Each is the probability that it happens to a sample of a batch."""

    flip: float = 0.0
    """Mirror left and right."""
    shift: float = 0.0
    """Move by one entry, in one of eight directions; zeros come in from outside."""
    cutout: float = 0.0
    """Zero a square of a third of the height, anywhere, in all channels."""
    crop: float = 0.0
    """Enlarge a random part to the size of the whole (Szegedy et al., 2015, do it with pixels)."""

    @property
    def active(self) -> bool:
        return bool(self.flip or self.shift or self.cutout or self.crop)

    def __call__(self, h_BCHW: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """The batch, augmented; the input is left as it is, and may be returned."""
        if not self.active:
            return h_BCHW
        count, _, height, width = (int(size) for size in h_BCHW.shape)
        # Each is drawn for whatever the probabilities are: switching one on leaves the others' draws alone.
        flipped_B = random.random(count) < self.flip
        shifted_B = random.random(count) < self.shift
        direction_B = random.integers(0, 8, count)
        cut_B = random.random(count) < self.cutout
        corner_2B = random.random((2, count))
        h_BCHW = h_BCHW.copy()
        if flipped_B.any():
            h_BCHW[flipped_B] = h_BCHW[flipped_B, :, :, ::-1]
        if self.crop:  # the last draws, and none without it: runs from before there was a crop are what they were
            cropped_B, part_4B = random.random(count) < self.crop, random.random((4, count))
            h_BCHW[cropped_B] = enlarged(h_BCHW[cropped_B], *_parts(part_4B[:, cropped_B]))
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


def _parts(random_4B: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of numbers in 0..1: where parts begin, and their sides, as shares of the whole: top, left, height, width (B,)."""
    area_B = CROP_AREA[0] + random_4B[0] * (CROP_AREA[1] - CROP_AREA[0])
    ratio_B = np.exp(CROP_RATIO[0] + random_4B[1] * (CROP_RATIO[1] - CROP_RATIO[0]))
    height_B, width_B = np.minimum(np.sqrt(area_B / ratio_B), 1), np.minimum(np.sqrt(area_B * ratio_B), 1)
    return random_4B[2] * (1 - height_B), random_4B[3] * (1 - width_B), height_B, width_B


def enlarged(
    h_BCHW: np.ndarray, top_B: np.ndarray, left_B: np.ndarray, height_B: np.ndarray, width_B: np.ndarray
) -> np.ndarray:
    """Parts of the batch at its size, linearly interpolated; a part is told in shares (0..1) of the whole."""
    rows_BHH = _interpolation(top_B, height_B, h_BCHW.shape[2])
    columns_BWW = _interpolation(left_B, width_B, h_BCHW.shape[3])
    result: np.ndarray = rows_BHH[:, None] @ h_BCHW @ columns_BWW[:, None].transpose(0, 1, 3, 2)
    return result


def _interpolation(start_B: np.ndarray, share_B: np.ndarray, size: int) -> np.ndarray:
    """(B, S, S): how much each entry of a part has of each entry of the whole; in a row, 1 in all."""
    centres_S = (np.arange(size) + 0.5) / size
    at_BS = ((start_B[:, None] + centres_S * share_B[:, None]) * size - 0.5).clip(0, size - 1)
    weights_BSS: np.ndarray = np.maximum(0, 1 - np.abs(at_BS[:, :, None] - np.arange(size))).astype(np.float32)
    return weights_BSS
