"""Runs on a folder of pictures that take a moment."""

from __future__ import annotations

from pathlib import Path

from ecofed.config.schema import Config


def tiny_settings(data: Path, method: str = "classic-fl", **changes: object) -> Config:
    """Two devices, a very narrow ResNet, no augmentation."""
    values: dict[str, object] = {
        "method": method,
        "data__name": str(data),
        "data__augment": False,
        "model__name": "resnet9",
        "model__width": 0.0625,
        "devices": 2,
        "sampled_devices": 2,
        "batch_size": 8,
        "rounds": 1,
        "initialisation": "random",
    }
    return Config().replace(**(values | changes))
