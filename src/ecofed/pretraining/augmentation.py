"""Augmentation for pre-training: batches at once, keyed by step (the devices' augmentation is keyed by sample).

Shape legend: B images of a batch, S side, C channels.
"""

from __future__ import annotations

import numpy as np

PADDING = 4


def augment_batch(images_BSSC: np.ndarray, rng: np.random.Generator, *, flip: bool, jitter: float) -> np.ndarray:
    """Random crop (zero padding 4), mirror image half the time, contrast and brightness jitter.

    ``jitter`` is the largest relative change of contrast and the deviation, in units of 0..1, of a shift of each
    channel. Returns float32 in units of 0..1, same shape.
    """
    count, size = images_BSSC.shape[:2]
    padded = np.pad(images_BSSC, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    rows_BS, columns_BS = rng.integers(0, 2 * PADDING + 1, (2, count, 1)) + np.arange(size)
    if flip:
        columns_BS = np.where(rng.random((count, 1)) < 0.5, columns_BS[:, ::-1], columns_BS)
    crops = padded[np.arange(count)[:, None, None], rows_BS[:, :, None], columns_BS[:, None, :]]
    scaled: np.ndarray = crops.astype(np.float32) / np.float32(255)
    if jitter:
        contrast = rng.uniform(1 - jitter, 1 + jitter, (count, 1, 1, 1)).astype(np.float32)
        shift = rng.normal(0, jitter / 4, (count, 1, 1, images_BSSC.shape[3])).astype(np.float32)
        scaled = (scaled - 0.5) * contrast + 0.5 + shift
    return scaled
