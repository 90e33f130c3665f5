"""``devices=auto``: as many devices as the data name."""

from __future__ import annotations

import numpy as np

from ecofed.config import Settings
from ecofed.config.fields import AS_NAMED
from ecofed.data import load_dataset
from ecofed.data.reading import reading_of
from ecofed.errors import ConfigError
from ecofed.models.registry import image_size


def settled(settings: Settings) -> Settings:
    """Settings with a number of devices: with ``devices=auto`` all that the data name and that have enough images.

    Of more sampled devices than there are all take part.

    Raises:
        DataError: the data are missing, or do not say whose an image is. ConfigError: nobody has enough images.
    """
    config = settings.for_method(settings.method)
    if config.devices != AS_NAMED:
        return settings
    how = reading_of(config.data, image_size(config.model))
    dataset = load_dataset(config.data.name, fallback=config.data.fallback, how=how, note=lambda _: None)
    assert dataset.train.device_N is not None, "data are read with whose image it is"
    least = config.data.least_samples
    devices = int((np.bincount(dataset.train.device_N) >= least).sum())
    if devices == 0:
        raise ConfigError(f"devices = 'auto': no device has at least {least} images (data.least_samples)")
    return settings.with_set(devices=devices, sampled_devices=min(config.sampled_devices, devices))
