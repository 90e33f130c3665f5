"""Weights after one step on one image: its label is read off them, and the search goes towards the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attacked import data_of, small_config

from ecofed.auditing import weights
from ecofed.auditing.decoder import pictures
from ecofed.auditing.likeness import ssim
from ecofed.auditing.weights import images_of, weights_task
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
