"""A small run that keeps its buffer: digits, a narrow LeNet, four devices that upload once."""

from __future__ import annotations

from typing import Any

from ecofed.config import Config, Settings

BASE = {
    "data.name": "digits",
    "data.samples_per_device": 12,
    "data.partition": "shards",
    "data.shards_per_device": 3,
    "model.name": "lenet",
    "model.width": 0.5,
    "devices": 4,
    "sampled_devices": 2,
    "batch_size": 6,
    "rounds": 4,
    "test_samples": 40,
    "initialisation": "random",
    "keep_buffer": "true",
}


def kept_config(**changes: Any) -> Config:
    """Dotted keys with ``__``."""
    return (
        Settings.load(None, [f"{key}={value}" for key, value in BASE.items()]).for_method("ecofed").replace(**changes)
    )
