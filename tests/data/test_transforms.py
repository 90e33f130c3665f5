"""Augmentation is keyed per image, and network inputs are exact."""

from __future__ import annotations

import numpy as np
import pytest
from data_builders import pictures
from hypothesis import given
from hypothesis import strategies as st

from ecofed.data import augment, to_input
from ecofed.data.transforms import with_channels


@given(side=st.sampled_from([28, 32]), channels=st.sampled_from([1, 3]), split=st.integers(0, 9), flip=st.booleans())
def test_an_augmented_image_does_not_depend_on_its_batch(side: int, channels: int, split: int, flip: bool) -> None:
    images, samples = pictures(9, side=side, channels=channels), np.arange(9) * 1000 + 7
    whole = augment(images, samples, seed=3, device=4, view=5, flip=flip)
    assert whole.shape == images.shape
    assert whole.dtype == np.uint8
    order = np.random.default_rng(split).permutation(9)
    for chunk in (order[:split], order[split:]):
        np.testing.assert_array_equal(
            augment(images[chunk], samples[chunk], seed=3, device=4, view=5, flip=flip), whole[chunk]
        )


@pytest.mark.parametrize("flip", [False, True])
def test_every_result_is_a_crop_of_the_padded_image(flip: bool) -> None:
    image = pictures(1, side=28, channels=1)[0]
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    crops = {padded[y : y + 28, x : x + 28].tobytes(): (y, x) for y in range(9) for x in range(9)}
    mirrored = {padded[y : y + 28, x : x + 28][:, ::-1].tobytes() for y in range(9) for x in range(9)}
    results = augment(np.repeat(image[None], 2000, axis=0), np.arange(2000), seed=0, device=0, view=0, flip=flip)
    found = [crops.get(result.tobytes()) for result in results]
    assert all(where is not None or result.tobytes() in mirrored for where, result in zip(found, results, strict=True))
    assert len({where for where in found if where is not None}) == 81
    share = np.mean([where is None for where in found])
    assert share == 0 if not flip else 0.45 < share < 0.55


def test_flip_leaves_the_crop_as_it_is() -> None:
    images, samples = pictures(200), np.arange(200)
    plain = augment(images, samples, seed=0, device=0, view=0, flip=False)
    flipped = augment(images, samples, seed=0, device=0, view=0, flip=True)
    same = (plain == flipped).all(axis=(1, 2, 3))
    assert 60 < same.sum() < 140
    # A mirrored crop is the crop at the mirrored offset of the mirrored image: here, simply the crop mirrored.
    np.testing.assert_array_equal(flipped[~same], plain[~same][:, :, ::-1])


@pytest.mark.parametrize("change", [{"seed": 1}, {"device": 1}, {"view": 1}])
def test_every_key_matters(change: dict[str, int]) -> None:
    images, samples = pictures(20), np.arange(20)
    key = {"seed": 0, "device": 0, "view": 0}
    one = augment(images, samples, **key, flip=True)
    two = augment(images, samples, **(key | change), flip=True)
    assert (one != two).any(axis=(1, 2, 3)).mean() > 0.8


def test_inputs_are_padded_with_raw_black_then_normalised() -> None:
    images = pictures(3, side=28, channels=1)
    inputs = to_input(images, (0.286,), (0.353,))
    assert inputs.shape == (3, 1, 32, 32)
    assert inputs.dtype == np.float32
    assert inputs.flags.c_contiguous
    black = np.float32((0 - 0.286) / 0.353)
    assert (inputs[:, :, :2] == black).all()
    assert (inputs[:, :, :, -2:] == black).all()
    np.testing.assert_allclose(inputs[:, 0, 2:30, 2:30], (images[..., 0] / 255 - 0.286) / 0.353, rtol=1e-6, atol=1e-6)


def test_inputs_normalise_each_channel() -> None:
    images = pictures(2)
    inputs = to_input(images, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    for channel in range(3):
        expected = (images[..., channel] / 255 - 0.1 * (channel + 1)) / (0.4 + 0.1 * channel)
        np.testing.assert_allclose(inputs[:, channel], expected, rtol=1e-6, atol=1e-6)


def test_grey_is_luminance_and_colour_of_grey_is_grey() -> None:
    """What ITU-R BT.601 says: green is brightest, blue darkest."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8).reshape(4, 1, 1, 3)
    assert with_channels(colours, 1).ravel().tolist() == [76, 150, 29, 255]
    grey = np.array([7, 200], np.uint8).reshape(2, 1, 1, 1)
    assert with_channels(grey, 3).reshape(2, 3).tolist() == [[7] * 3, [200] * 3]
    assert with_channels(colours, 3) is colours


def test_no_images() -> None:
    none = np.zeros((0, 28, 28, 1), np.uint8)
    assert augment(none, np.array([], np.int64), seed=0, device=0, view=0, flip=True).shape == (0, 28, 28, 1)
    assert to_input(none, (0.5,), (0.5,)).shape == (0, 1, 32, 32)
