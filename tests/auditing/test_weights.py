"""Weights after one step on one image: its label is read off them, and the search goes towards the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from attacked import data_of, small_config

from ecofed.auditing import weights
from ecofed.auditing.decoder import pictures
from ecofed.auditing.likeness import ssim
from ecofed.auditing.weights import images_of, labels_of, weights_task
from ecofed.data.transforms import padded
from prepared import prepared_for


def test_label_and_image_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepared_for(small_config())
    data = data_of(prepared, 3)
    images_NHWC, labels_N = padded(data.plain(slice(0, 3))), data.labels_N.astype(np.int64)
    task = weights_task(prepared.task)
    monkeypatch.setattr(weights, "STEPS", 0)
    start = images_of(task, images_NHWC, labels_N, 0)
    assert start.labels_N.tolist() == labels_N.tolist()
    assert start.bytes_per_image > 4e5
    monkeypatch.setattr(weights, "STEPS", 60)
    found = images_of(task, images_NHWC[:1], labels_N[:1], 0)
    wanted = pictures(images_NHWC[:1])
    assert float(ssim(found.images_NCHW, wanted)) > 0.3 + float(ssim(start.images_NCHW[:1], wanted))
    assert torch.equal(found.images_NCHW, found.images_NCHW.clamp(0, 1))


def test_labels_of_a_batch_come_back_in_whichever_order(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepared_for(small_config())
    data = data_of(prepared, 16)
    images_NHWC, labels_N = padded(data.plain(slice(0, 16))), data.labels_N.astype(np.int64)
    monkeypatch.setattr(weights, "STEPS", 0)
    found = images_of(weights_task(prepared.task, 8), images_NHWC, labels_N, 0)
    assert found.labels_right >= 14
    assert sorted(found.labels_N[:8].tolist()) != found.labels_N[:8].tolist()  # in the order of the images
    assert found.images_NCHW.shape == (16, 1, 32, 32)


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy__labels": "counts"},
        {"privacy__label_epsilon": 2.0},
        {"privacy__epsilon": 8.0, "ecofed__refresh": "once", "normalisation": "frozen"},
        {"validation__fraction": 0.5, "validation__on_devices": True, "delivery": "int8"},
    ],
)
def test_devices_that_protect_their_uploads_are_not_those_that_send_weights(changes: dict[str, Any]) -> None:
    """What they do to codes no device does to weights: it would refuse to take part, or keep the image back."""
    task = weights_task(prepared_for(small_config(**changes)).task, 4)
    images_NHWC, labels_N = np.zeros((4, 32, 32, 1), np.uint8), np.arange(4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "STEPS", 0)
        assert images_of(task, images_NHWC, labels_N, 0).labels_right == 4


def test_labels_are_read_off_what_a_bias_gets() -> None:
    guessed = torch.full((4,), 0.25)
    gradient = guessed - torch.tensor([0.0, 0.75, 0.25, 0.0])
    assert labels_of(gradient, guessed, 4).tolist() == [1, 1, 1, 2]
