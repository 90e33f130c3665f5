"""Rendered fractals: keyed, varied, of any size, fast."""

from __future__ import annotations

import numpy as np
import pytest

from ecofed.pretraining import fractal_images
from ecofed.pretraining.probe import ridge_accuracy


def test_an_image_depends_on_seed_and_number_only() -> None:
    many, few = fractal_images(300, classes=7, seed=3), fractal_images(20, classes=7, seed=3)
    assert np.array_equal(many.images_NHWC[:20], few.images_NHWC)
    assert many.labels_N[:9].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert not np.array_equal(few.images_NHWC, fractal_images(20, classes=7, seed=4).images_NHWC)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (28, 3), (64, 3)])
def test_any_size_and_either_number_of_channels(size: int, channels: int) -> None:
    images = fractal_images(5, size=size, channels=channels).images_NHWC
    assert images.shape == (5, size, size, channels)
    assert images.dtype == np.uint8


def test_images_are_not_flat_and_cover_the_range() -> None:
    images = fractal_images(256).images_NHWC.astype(float)
    assert images.std(axis=(1, 2, 3)).min() > 3
    assert 100 < images.mean() < 155
    assert images.std() > 40


def test_classes_can_be_told_apart_by_their_shapes() -> None:
    fractals = fractal_images(1200, classes=4, channels=1)
    pixels = fractals.images_NHWC.reshape(1200, -1).astype(np.float32) / 255
    # Edges rather than colours, which are random.
    pixels = np.abs(np.diff(pixels, axis=1))
    accuracy = ridge_accuracy(pixels[:1000], fractals.labels_N[:1000], pixels[1000:], fractals.labels_N[1000:], 4)
    assert accuracy > 0.4  # by chance: 0.25
