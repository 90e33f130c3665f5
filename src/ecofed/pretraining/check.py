"""Does a front suit these images? Asked before deployment, answered by linear probes on a labelled sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecofed.activations import saturation_warned
from ecofed.config.network_input import Frame
from ecofed.config.problem import ModelConfig
from ecofed.data import Dataset, compressed_sizes, raw_bytes
from ecofed.data.reading import Reading
from ecofed.errors import ConfigError
from ecofed.models.registry import image_size
from ecofed.pretraining.audited import AuditedFront, audited_front
from ecofed.pretraining.bundling import random_front
from ecofed.pretraining.limits import saturated_fraction
from ecofed.pretraining.probe import features, probe_front, probe_pixels, probe_set
from ecofed.wire import FrontBundle

_FEWEST = 200
"""Fewer test images, and a difference of points says nothing."""
_WORTHWHILE = 0.01
"""Differences of accuracy below this are within the noise of two thousand test images."""


@dataclass(frozen=True, kw_only=True)
class FrontCheck:
    """What :func:`check_front` found. Accuracies are fractions 0-1 of a linear probe."""

    data: str
    train_samples: int
    test_samples: int
    bits: int
    bytes_per_image: int
    raw_bytes_per_image: int
    compressed_bytes_per_image: int
    probe_accuracy: float
    """On the front's codes, decoded: what a server sees."""
    random_front_accuracy: float
    """The same architecture with random weights, same bits; without its bottleneck."""
    pixels_accuracy: float
    saturated_fraction: float
    audited: AuditedFront | None = None
    """What an attacker makes of this front's codes of so many bits, where that was tried (on other images)."""

    @property
    def advice(self) -> str:
        """One sentence."""
        gain = self.probe_accuracy - self.random_front_accuracy
        most = saturation_warned(self.bits)
        if self.saturated_fraction > most:
            return (
                f"{self.saturated_fraction:.0%} of the entries are above the quantiser's limits (more than "
                f"{most:.0%}): these images are unlike those that the front was made with; pre-train one "
                "on public images of this kind"
            )
        if self.test_samples < _FEWEST:
            return f"{self.test_samples} test images are too few for a verdict; give at least {_FEWEST}"
        if self.probe_accuracy < self.pixels_accuracy + _WORTHWHILE:
            return (
                "the raw pixels are as good: this front does not suit these images; pre-train one on images like them"
            )
        if gain < _WORTHWHILE:
            return (
                "a random front is as good: pre-training on these public images buys nothing here; use "
                "front.name=random, or pre-train on images closer to yours"
            )
        price = f"{self.bytes_per_image} bytes an image"
        return f"suits these images: {100 * gain:.1f} points better than a random front, at {price}"


def reading_for(bundle: FrontBundle) -> Reading:
    """How a data set is read for a front: photographs at the size of its input, others as the paper's networks do."""
    return Reading(frame=Frame(image_size=image_size(_config(bundle))))


def check_front(
    bundle: FrontBundle,
    dataset: Dataset,
    *,
    bits: int | None = None,
    train: int = 5_000,
    test: int = 2_000,
    seed: int = 0,
) -> FrontCheck:
    """Probe ``bundle`` on a keyed sample of ``dataset``, read as :func:`reading_for` says, against a random front and
    the raw pixels.

    ``bits`` defaults to 4 where the front has limits for it, otherwise to the bits it was trained with.

    Raises:
        ConfigError: images of another number of channels or size, or bits that the front has no limits for.
        DataError: the data set has no test split.
    """
    if dataset.channels != bundle.in_channels:
        raise ConfigError(
            f"{dataset.title} has {dataset.channels} channels, the front takes {bundle.in_channels}; "
            "'ecofed front list' shows the others"
        )
    height, width = dataset.train.images_NHWC.shape[1:3]
    if image_size(_config(bundle)) is not None and min(height, width) < bundle.input_size:
        raise ConfigError(
            f"{dataset.title} was read as pictures of {height}x{width}, the front takes {bundle.input_size}x"
            f"{bundle.input_size}; read it with how=ecofed.pretraining.check.reading_for(front)"
        )
    bits = default_bits(bundle) if bits is None else bits
    if bits not in bundle.upper:
        raise ConfigError(f"--bits {bits}: this front has quantiser limits for {sorted(bundle.upper)} bits only")
    sample = probe_set(dataset, train=train, test=test, seed=seed)
    opponent = random_front(_config(bundle), bundle.in_channels, seed, normalisation=bundle.normalisation)
    h_NF = features(bundle, sample.test)
    h_NCHW = h_NF.reshape(len(h_NF), *bundle.activation_shape)
    kept = np.arange(min(200, len(dataset.train)))
    return FrontCheck(
        data=sample.title,
        train_samples=len(sample.train),
        test_samples=len(sample.test),
        bits=bits,
        bytes_per_image=-(-h_NF.shape[1] * bits // 8),
        raw_bytes_per_image=raw_bytes(dataset),
        compressed_bytes_per_image=round(float(compressed_sizes(dataset, kept).mean())),
        probe_accuracy=probe_front(bundle, sample, bits),
        random_front_accuracy=probe_front(opponent, sample, bits),
        pixels_accuracy=probe_pixels(sample),
        saturated_fraction=saturated_fraction(h_NCHW, bundle.upper[bits]),
        audited=audited_front(bundle.id, bits),
    )


def _config(bundle: FrontBundle) -> ModelConfig:
    return ModelConfig(name=bundle.model, width=bundle.width, cut=bundle.cut, image_size=bundle.input_size)


def default_bits(bundle: FrontBundle) -> int:
    """4 where the front has limits for it (the configuration's default), otherwise what it was trained with."""
    return 4 if 4 in bundle.upper else min(bundle.upper)
