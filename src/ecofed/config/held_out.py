"""Which samples of a device nothing is trained on (:mod:`ecofed.config.validation`)."""

from __future__ import annotations

import numpy as np

from ecofed.config.schema import Config
from ecofed.randomness import generator


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
