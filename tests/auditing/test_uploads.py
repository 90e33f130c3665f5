"""What is attacked is what travels, and belongs to the images that it is said to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attacked import data_of, small_config

from ecofed.activations import configured_codec
from ecofed.auditing.uploads import uploads_images, uploads_of
from ecofed.config.methods import METHODS
from ecofed.data import to_input
from ecofed.models import build_front
from ecofed.runs.preparation import Prepared
from prepared import prepared_for

COUNT = 20


def seen(prepared: Prepared, pixels_NHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(to_input(pixels_NHWC, prepared.task.mean, prepared.task.std, prepared.task.input_size))


@pytest.mark.parametrize("codec", ["uniform", "minmax", "dct"])
def test_codes_are_those_of_the_images_beside_them(codec: str) -> None:
    bits = 8 if codec != "uniform" else 2
    prepared = prepared_for(small_config(codec__name=codec, codec__bits=bits))
    uploaded = uploads_of(prepared, data_of(prepared, COUNT))
    assert prepared.bundle is not None
    front = build_front(prepared.bundle, "frozen")
    settings = prepared.task.config.codec
    own = configured_codec(settings, prepared.bundle.activation_shape, prepared.bundle.upper.get(settings.bits))
    h_NCHW = front(seen(prepared, uploaded.pixels_NHWC)).numpy()
    batch = prepared.task.config.batch_size
    wanted = np.concatenate([own.there_and_back(h_NCHW[at : at + batch]) for at in range(0, COUNT, batch)])
    found = uploaded.decoded(slice(None))
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    assert np.corrcoef(found.ravel(), h_NCHW.ravel())[0, 1] > 0.75
    assert len(uploaded) == COUNT
    assert uploaded.bytes_per_image > 0


@pytest.mark.parametrize("method", ["vanilla-dpfl", "lgl", "fedgkt"])
def test_activations_are_those_of_the_images_beside_them(method: str) -> None:
    """With a learning rate of almost nothing, so that a front that learns stays what it was."""
    prepared = prepared_for(small_config(method, learning_rate=1e-9, normalisation="frozen"))
    uploaded = uploads_of(prepared, data_of(prepared, COUNT))
    with torch.no_grad():
        wanted = prepared.halves.front(seen(prepared, uploaded.pixels_NHWC)).numpy()
    np.testing.assert_allclose(uploaded.decoded(slice(None)), wanted, atol=1e-4)
    assert 0 <= uploaded.bytes_per_image - 4 * wanted[0].size < 10


def test_images_that_travel_are_those_images() -> None:
    prepared = prepared_for(small_config("send-images"))
    uploaded = uploads_of(prepared, data_of(prepared, COUNT))
    apart = uploaded.decoded(slice(None)) * 255 - uploaded.pixels_NHWC.transpose(0, 3, 1, 2)
    assert np.abs(apart).mean() < 4


def test_a_shuffled_upload_is_of_another_image() -> None:
    prepared = prepared_for(small_config())
    uploaded = uploads_of(prepared, data_of(prepared, COUNT))
    swapped = uploaded.shuffled(np.roll(np.arange(COUNT), 1))
    assert np.array_equal(swapped.pixels_NHWC, uploaded.pixels_NHWC)
    assert np.array_equal(swapped.decoded(slice(1, None)), uploaded.decoded(slice(0, -1)))


def test_which_methods_upload_something_of_each_image() -> None:
    assert [name for name in METHODS if not uploads_images(name)] == ["classic-fl", "closed-form"]
