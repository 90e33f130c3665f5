"""What a linear classifier reads from uploads: the class, and whose an image is where the data say it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from attacked import WORDS

from ecofed.auditing.probing import probed
from ecofed.auditing.steps import Workbench
from ecofed.auditing.target import Target, target_of
from ecofed.errors import ConfigError


def bench(*words: str, owners_N: np.ndarray | None = None) -> Workbench:
    target = target_of(None, [*WORDS, *words], lambda _: None)
    if owners_N is not None:
        dataset = target.prepared.dataset
        assert dataset.test is not None
        test = dataclasses.replace(dataset.test, device_N=owners_N)
        prepared = dataclasses.replace(target.prepared, dataset=dataclasses.replace(dataset, test=test))
        target = dataclasses.replace(target, prepared=prepared)
    return Workbench(target, images=12, passes=0, unlike="fractals", seed=0)


def labels_of(target: Target) -> np.ndarray:
    assert target.prepared.dataset.test is not None
    return target.prepared.dataset.test.labels_N


@pytest.mark.parametrize(
    "words",
    [
        (),
        # Devices have their images in another order, or keep some of them back.
        pytest.param(("privacy.labels=counts",), marks=pytest.mark.ci),
        pytest.param(("validation.fraction=0.2", "validation.on_devices=true", "delivery=int8"), marks=pytest.mark.ci),
    ],
)
def test_whose_an_image_is_is_told_as_its_class_is(words: tuple[str, ...]) -> None:
    """Where each device has one class, both are the same question, but of images that are shifted."""
    labels_N = labels_of(bench().target)
    found = probed(bench(*words, owners_N=labels_N))
    assert found.accuracy is not None
    assert 0.5 < found.accuracy < 1
    assert found.device_told is not None
    assert 0.6 < found.device_told < found.accuracy
    assert found.device_guessed is not None
    assert found.device_guessed < 0.2


def test_no_image_is_asked_about_that_was_learned_from() -> None:
    """Devices that tell counts have an order of their own, in both halves."""
    made = bench("privacy.labels=counts")
    images_NHWC, labels_N = (some[:24] for some in made.target.alike()[:2])
    fitted, tested = (each.pairs(images_NHWC, labels_N, "") for each in (made.target, made.target.as_tested()))
    assert fitted.samples_N.tolist() == tested.samples_N.tolist()


def test_of_one_public_image_nothing_is_learned() -> None:
    target = bench().target
    dataset = target.prepared.dataset
    assert dataset.test is not None
    one = dataclasses.replace(
        dataset.test, images_NHWC=dataset.test.images_NHWC[:1], labels_N=dataset.test.labels_N[:1]
    )
    prepared = dataclasses.replace(target.prepared, dataset=dataclasses.replace(dataset, test=one))
    with pytest.raises(ConfigError, match="has 1 test image, and an attacker learns from 2 or more"):
        dataclasses.replace(target, prepared=prepared).alike()


def test_what_has_nothing_to_do_with_the_image_is_not_told() -> None:
    owners_N = np.arange(len(labels_of(bench().target))) % 5
    found = probed(bench(owners_N=owners_N))
    assert found.device_told is not None
    assert found.device_told < 0.35
    assert probed(bench()).device_told is None


def test_noise_costs_accuracy_and_sums_are_of_no_image() -> None:
    noisy = probed(bench("privacy.epsilon=8")).accuracy
    clear = probed(bench()).accuracy
    assert noisy is not None
    assert clear is not None
    assert noisy < clear - 0.2
    assert probed(bench("method=closed-form")).accuracy is None
    assert probed(bench("method=send-images")).accuracy is None
