"""The section ``[validation]``: samples that nothing is trained on, and which they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ecofed.config.fields import Needs, require
from ecofed.randomness import generator

if TYPE_CHECKING:
    from ecofed.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Samples of devices that are held out of training, to judge the network where the server has no test images."""

    fraction: float = 0.0
    """The share of every device's samples that is held out, drawn for each sample: no view of it is ever trained on.
    They are uploaded as the others are, and the server finds out how many of them the network gets right: in all, by
    class and by device. Needs a method whose uploads it keeps, or ``on_devices``."""
    on_devices: bool = False
    """The held-out samples do not leave the device, in no form: after training every device runs the finished network
    on its own and answers with counts alone, how many of each class it has and how many of them are right. For every
    method that trains a network; needs ``delivery``, which brings it to the devices."""

    NEEDS: ClassVar[Needs] = {"on_devices": ("validation.fraction above 0", lambda own: own.fraction > 0)}

    def __post_init__(self) -> None:
        require(0 <= self.fraction < 1, "validation.fraction", self.fraction, "must be at least 0 and below 1")
        rule = "needs validation.fraction above 0: the share that devices do not train on"
        require(self.fraction > 0 or not self.on_devices, "validation.on_devices", self.on_devices, rule)

    @property
    def on_server(self) -> bool:
        """Whether the server holds samples out of what it was sent."""
        return self.fraction > 0 and not self.on_devices


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


def taking_part(config: Config, device: int, samples: int) -> np.ndarray:
    """Which of a device's samples the run's method gets to see, int64: all but those that the device holds out."""
    if not config.validation.on_devices:
        return np.arange(samples)
    return np.flatnonzero(~held_out(config, device, np.arange(samples)))
