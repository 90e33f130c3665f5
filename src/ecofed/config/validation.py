"""The section ``[validation]``: samples that nothing is trained on, and which they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecofed.config.fields import require
from ecofed.randomness import generator

if TYPE_CHECKING:
    from ecofed.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Samples of devices that are held out of training, to judge the network where the server has no test images."""

    fraction: float = 0.0
    """The share of every device's samples that is held out, drawn for each sample: no view of it is ever trained on.
    They are uploaded as the others are, and the server finds out how many of them the network gets right: in all, by
    class and by device. Needs a method whose uploads it keeps."""

    def __post_init__(self) -> None:
        require(0 <= self.fraction < 1, "validation.fraction", self.fraction, "must be at least 0 and below 1")


def held_out(config: Config, device: int, sample_N: np.ndarray) -> np.ndarray:
    """Which of a device's samples are held out, bool, as ``sample_N`` names them.

    A keyed draw for each sample, whatever others the device has or will have.
    """
    if not config.validation.fraction or not len(sample_N):
        return np.zeros(len(sample_N), bool)
    draws = generator(config.seed, "held-out", device=device).random(int(sample_N.max()) + 1)
    held_N: np.ndarray = draws[sample_N] < config.validation.fraction
    return held_N


def trained_count(config: Config, device: int, samples: int) -> int:
    """How many of a device's samples are not held out."""
    return samples - int(held_out(config, device, np.arange(samples)).sum())
