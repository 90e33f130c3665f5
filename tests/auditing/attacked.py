"""A configuration whose uploads are attacked in seconds: digits, a narrow LeNet, a random front."""

from __future__ import annotations

from typing import Any

from ecofed.config import Config, Settings
from ecofed.devices.local_data import LocalData
from ecofed.runs.preparation import Prepared

BASE = {
    "data.name": "digits",
    "data.samples_per_device": 24,
    "model.name": "lenet",
    "model.width": 0.5,
    "devices": 4,
    "sampled_devices": 2,
    "batch_size": 6,
    "rounds": 2,
    "test_samples": 100,
    "initialisation": "random",
}
WORDS = [f"{key}={value}" for key, value in BASE.items()]


def small_config(method: str = "ecofed", **changes: Any) -> Config:
    """Dotted keys with ``__``."""
    return Settings.load(None, WORDS).for_method(method).replace(**changes)


def data_of(prepared: Prepared, count: int, device: int = 0) -> LocalData:
    """The first images of a device."""
    train, own = prepared.dataset.train, prepared.shares[device][:count]
    return LocalData(prepared.task, device, train.images_NHWC[own], train.labels_N[own])
