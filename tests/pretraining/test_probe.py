"""Linear probes, and the advice that a check gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ecofed.config.problem import ModelConfig
from ecofed.data import ImageSet
from ecofed.pretraining import ProbeSet, fractal_images, probe_front, probe_pixels, random_front
from ecofed.pretraining.check import FrontCheck, default_bits
from ecofed.pretraining.probe import features, ridge_accuracy
from ecofed.randomness import generator


def clusters(samples: int, width: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Three classes around three centres."""
    rng = generator(0, "test-clusters", sample=samples)
    centres = generator(0, "test-centres", sample=width).normal(0, 1, (3, width))
    labels = rng.integers(0, 3, samples)
    return (centres[labels] + rng.normal(0, spread, (samples, width))).astype(np.float32), labels


@pytest.mark.parametrize(("samples", "width"), [(200, 10), (60, 300)])
def test_separable_classes_are_told_apart_whatever_is_larger(samples: int, width: int) -> None:
    train, train_labels = clusters(samples, width, 0.2)
    test, test_labels = clusters(samples + 1, width, 0.2)
    assert ridge_accuracy(train, train_labels, test, test_labels, 3) == 1
    shuffled = np.roll(train_labels, samples // 2)
    assert ridge_accuracy(train, shuffled, test, test_labels, 3) < 0.7


def test_a_test_sample_is_judged_alone() -> None:
    """What is subtracted and divided by comes from the training samples."""
    train, train_labels = clusters(60, 5, 1.0)
    test, test_labels = clusters(40, 5, 1.0)
    together = ridge_accuracy(train, train_labels, test, test_labels, 3)
    alone = [ridge_accuracy(train, train_labels, test[i : i + 1], test_labels[i : i + 1], 3) for i in range(40)]
    assert 0.4 < together < 1
    assert np.mean(alone) == pytest.approx(together)


def test_constant_features_and_an_unseen_class_do_no_harm() -> None:
    train, train_labels = clusters(100, 5, 0.1)
    train[:, 2] = 7
    assert ridge_accuracy(train, train_labels, train, train_labels, 5) > 0.95


@pytest.fixture(scope="module")
def sample() -> ProbeSet:
    fractals = fractal_images(150, classes=3, channels=1)
    train = ImageSet(fractals.images_NHWC[:100], fractals.labels_N[:100])
    return ProbeSet(
        title="fractals", train=train, test=ImageSet(fractals.images_NHWC[100:], fractals.labels_N[100:]), classes=3
    )


def test_probing_is_deterministic_and_fits_channels_and_size(sample: ProbeSet) -> None:
    colour = random_front(ModelConfig(name="lenet", width=0.125), 3, 0)
    assert features(colour, sample.test).shape == (50, 8 * 8 * 8)
    assert probe_front(colour, sample) == probe_front(colour, sample)
    small = dataclasses.replace(sample, test=ImageSet(sample.test.images_NHWC[:, 2:30, 2:30], sample.test.labels_N))
    labels = (sample.train.labels_N, sample.test.labels_N)
    train, test = (features(colour, images, 2) for images in (small.train, small.test))
    assert probe_front(colour, small, 2) == ridge_accuracy(train, labels[0], test, labels[1], 3)
    train, test = (
        images.images_NHWC.reshape(len(images), -1) / np.float32(255) for images in (sample.train, sample.test)
    )
    assert probe_pixels(sample) == ridge_accuracy(train, labels[0], test, labels[1], 3)
    # What can be seen is found, in the pixels and behind the front.
    bright = [
        ImageSet(images.images_NHWC // 4 + 60 * images.labels_N.astype(np.uint8)[:, None, None, None], images.labels_N)
        for images in (sample.train, sample.test)
    ]
    easy = dataclasses.replace(sample, train=bright[0], test=bright[1])
    assert probe_front(colour, easy) > 0.9
    assert probe_pixels(easy) > 0.6


def test_probing_codes_sees_what_the_server_sees(sample: ProbeSet) -> None:
    bundle = random_front(ModelConfig(name="lenet", width=0.125), 1, 0)
    coded, plain = features(bundle, sample.test, 1), features(bundle, sample.test)
    per_channel = coded.reshape(50, 8, -1)
    assert all(len(np.unique(per_channel[:, channel])) <= 2 for channel in range(8))
    assert not np.array_equal(coded, plain)
    assert np.median(np.abs(features(bundle, sample.test, 8) - plain)) < 0.01
    assert default_bits(bundle) == 4
    assert default_bits(dataclasses.replace(bundle, upper={2: bundle.upper[2]})) == 2


GOOD = FrontCheck(
    data="x",
    train_samples=1,
    test_samples=2000,
    bits=4,
    bytes_per_image=256,
    raw_bytes_per_image=3072,
    compressed_bytes_per_image=900,
    probe_accuracy=0.6,
    random_front_accuracy=0.5,
    pixels_accuracy=0.3,
    saturated_fraction=0.01,
)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, "suits these images: 10.0 points better than a random front, at 256 bytes an image"),
        ({"saturated_fraction": 0.3}, "30% of the entries are above the quantiser's limits"),
        ({"saturated_fraction": 0.24, "bits": 2}, "suits these images"),
        (
            {"saturated_fraction": 0.39, "bits": 2},
            "39% of the entries are above the quantiser's limits (more than 33%)",
        ),
        ({"test_samples": 4, "pixels_accuracy": 1.0}, "4 test images are too few for a verdict; give at least 200"),
        ({"random_front_accuracy": 0.6}, "a random front is as good"),
        ({"pixels_accuracy": 0.62}, "the raw pixels are as good"),
    ],
)
def test_advice(changes: dict[str, float], advice: str) -> None:
    assert advice in dataclasses.replace(GOOD, **changes).advice  # type: ignore[arg-type]
