"""Images to network inputs, and the paper's augmentation. Both run on the device, so both are numpy.

Shape legend: N images, H rows, W columns, C channels.
"""

from __future__ import annotations

import numpy as np

from ecofed.data.images import SIZE
from ecofed.randomness import generator

PADDING = 4
"""Zero pixels on each side before the random crop."""
# ITU-R BT.601, what image libraries mean by "grey".
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def augment(
    images_NHWC: np.ndarray, samples_N: np.ndarray, *, seed: int, device: int, view: int, flip: bool
) -> np.ndarray:
    """Random crop (zero padding 4, native size) and, with ``flip``, a mirror image half the time.

    The draw of an image is keyed by (seed, device, sample, view) alone, so it is the same in any batch.
    ``samples_N`` holds the images' training indices. Returns uint8, the shape of ``images_NHWC``.
    """
    count, height, width, channels = images_NHWC.shape
    offsets = 2 * PADDING + 1
    draws_N = np.fromiter(
        (
            generator(seed, "augment", device=device, sample=int(sample), view=view).integers(2 * offsets * offsets)
            for sample in samples_N
        ),
        np.int64,
        count,
    )
    mirrored_N, rest_N = draws_N % 2 == 1, draws_N // 2
    padded_NHWC = np.zeros((count, height + 2 * PADDING, width + 2 * PADDING, channels), np.uint8)
    padded_NHWC[:, PADDING : PADDING + height, PADDING : PADDING + width] = images_NHWC
    rows_NH = (rest_N // offsets)[:, None] + np.arange(height)
    columns_NW = (rest_N % offsets)[:, None] + np.arange(width)
    if flip:
        columns_NW = np.where(mirrored_N[:, None], columns_NW[:, ::-1], columns_NW)
    cropped_NHWC: np.ndarray = padded_NHWC[np.arange(count)[:, None, None], rows_NH[:, :, None], columns_NW[:, None, :]]
    return cropped_NHWC


def to_input(images_NHWC: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...], size: int = SIZE) -> np.ndarray:
    """Zero-pad to ``size`` (raw black, centred), scale to 0..1, normalise. Returns float32 NCHW, contiguous.

    ``mean`` and ``std`` are per channel, of pixels in 0..1; images must not be larger than ``size``.
    """
    count, height, width, channels = images_NHWC.shape
    assert height <= size, f"images of {height}x{width} do not fit {size}x{size}"
    assert width <= size, f"images of {height}x{width} do not fit {size}x{size}"
    assert channels == len(mean) == len(std), f"{channels} channels, {len(mean)} means, {len(std)} deviations"
    top, left = (size - height) // 2, (size - width) // 2
    padded_NHWC = np.zeros((count, size, size, channels), np.uint8)
    padded_NHWC[:, top : top + height, left : left + width] = images_NHWC
    inputs_NCHW = np.empty((count, channels, size, size), np.float32)
    levels = np.arange(256) / 255
    for channel in range(channels):
        # 256 possible values: look them up rather than compute each pixel.
        table = ((levels - mean[channel]) / std[channel]).astype(np.float32)
        inputs_NCHW[:, channel] = table[padded_NHWC[..., channel]]
    return inputs_NCHW


def with_channels(images_NHWC: np.ndarray, channels: int) -> np.ndarray:
    """uint8 images with 1 or 3 channels: colour becomes grey by luminance, grey becomes three equal channels."""
    if images_NHWC.shape[3] == channels:
        return images_NHWC
    if channels == 3:
        return np.repeat(images_NHWC, 3, axis=3)
    grey_NHW = np.rint(np.dot(images_NHWC.astype(np.float32), _LUMINANCE)).astype(np.uint8)
    return np.expand_dims(grey_NHW, 3)


def padded(images_NHWC: np.ndarray, size: int = SIZE) -> np.ndarray:
    """With a black border, centred, up to ``size`` x ``size``."""
    top, left = (size - images_NHWC.shape[1]) // 2, (size - images_NHWC.shape[2]) // 2
    bottom, right = size - images_NHWC.shape[1] - top, size - images_NHWC.shape[2] - left
    return np.pad(images_NHWC, ((0, 0), (top, bottom), (left, right), (0, 0)))
