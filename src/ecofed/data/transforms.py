"""Images to network inputs, and the paper's augmentation. Both run on the device, so both are numpy.

Shape legend: N images, H rows, W columns, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ecofed.config.task import Task
from ecofed.data.images import SIZE, resize
from ecofed.randomness import generator

CROP_AREA = (0.35, 1.0)
"""How much of a photograph a random crop shows."""
CROP_RATIO = (math.log(3 / 4), math.log(4 / 3))
"""Of its sides, as a logarithm."""
PADDING = 4
"""Zero pixels on each side before the random crop."""
# ITU-R BT.601, what image libraries mean by "grey".
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class Views:
    """How a run looks at pictures again and again. Every draw is keyed by (seed, device, sample, view) alone, so it is
    the same in any batch."""

    seed: int
    device: int
    flip: bool
    """Whether a mirrored image is still valid."""
    crop_to: int | None
    """Side of what is seen of a photograph; ``None``: images of the network's size, which are shifted instead."""

    @classmethod
    def of(cls, task: Task, device: int) -> Views:
        """Of a device of this task; the server's own are those of device -1."""
        crop_to = task.input_size if task.cover else None
        return cls(seed=task.config.seed, device=device, flip=task.flip, crop_to=crop_to)

    def __call__(self, images_NHWC: np.ndarray, samples_N: np.ndarray, view: int) -> np.ndarray:
        """This view of images (N, H, W, C) uint8, whose training indices are ``samples_N``."""
        if self.crop_to is None:
            return augment(images_NHWC, samples_N, seed=self.seed, device=self.device, view=view, flip=self.flip)
        if view == 0:
            return centre(images_NHWC, self.crop_to)
        crops = [self._crop(image_HWC, sample, view) for image_HWC, sample in zip(images_NHWC, samples_N, strict=True)]
        return np.stack(crops) if crops else centre(images_NHWC, self.crop_to)

    def _crop(self, image_HWC: np.ndarray, sample: int, view: int) -> np.ndarray:
        """A random part, scaled, and mirrored half the time (Szegedy et al., 2015)."""
        assert self.crop_to is not None
        draws = generator(self.seed, "crop", device=self.device, sample=int(sample), view=view)
        side = image_HWC.shape[0]
        area, ratio = draws.uniform(*CROP_AREA) * side * side, math.exp(draws.uniform(*CROP_RATIO))
        width, height = min(math.sqrt(area * ratio), side), min(math.sqrt(area / ratio), side)
        left, top = draws.uniform(0, side - width), draws.uniform(0, side - height)
        crop_HWC = resize(image_HWC, (self.crop_to, self.crop_to), (left, top, left + width, top + height))
        mirrored = self.flip and draws.uniform() < 0.5
        return crop_HWC[:, ::-1] if mirrored else crop_HWC


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


def centre(images_NHWC: np.ndarray, side: int) -> np.ndarray:
    """The middle of images that are at least ``side`` x ``side``."""
    top, left = (images_NHWC.shape[1] - side) // 2, (images_NHWC.shape[2] - side) // 2
    return images_NHWC[:, top : top + side, left : left + side]


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
