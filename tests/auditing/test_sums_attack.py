"""What sums tell: everything where there is one image, and no more than was promised where there is noise."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from attacked import WORDS, data_of, small_config

from ecofed.auditing import sums_attack
from ecofed.auditing.facts import notes_about
from ecofed.auditing.summed import Space, SummedFront, one_of_each, single_sums, sums_of, uploads_sums, worked_out
from ecofed.auditing.sums_attack import from_sums
from ecofed.auditing.target import target_of
from ecofed.config.methods import METHODS
from ecofed.models import build_front
from ecofed.results.audits import FromSums
from prepared import prepared_for

SUMS = [*WORDS, "method=closed-form", "data.samples_per_device=80"]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums_attack, "OF_A_CLASS", {1: 3, 4: 1, None: 1})


def found(*words: str) -> FromSums:
    return from_sums(target_of(None, [*SUMS, *words], lambda _: None), 0)


def test_sums_without_noise_tell_who_took_part() -> None:
    told = found("closed-form.sends=class-means")
    of = {each.of: each for each in told.took_part}
    assert list(of) == [
        "sums of devices with 1 image of a class",
        "sums of devices with 4 images of a class",
        "sums of devices as they are",
    ]
    alone, few, many = of.values()
    assert (alone.auc, alone.picked) == (1, 1)
    assert few.auc is not None
    assert many.auc is not None
    assert 0.9 < few.auc <= 1
    assert 0.7 < many.auc < few.auc
    assert (told.counts_exact, told.count_error) == (1, 0)
    assert (told.pair_right, told.pair_at_most) == (1, 1)
    assert told.control.auc == pytest.approx(0.5, abs=0.07)


def test_products_tell_all_of_it() -> None:
    told = found("closed-form.sends=second-moments")
    assert [each.picked for each in told.took_part] == [1, 1, 1]
    assert told.pair_right == 1


@pytest.mark.parametrize("sends", ["class-means", "second-moments"])
def test_with_noise_nobody_decides_better_than_is_promised(sends: str) -> None:
    told = found(f"closed-form.sends={sends}", "privacy.epsilon=2")
    assert told.pair_at_most == pytest.approx(0.599, abs=1e-3)  # by dp-accounting's mu of epsilon 2, delta 1e-5
    assert told.pair_right < told.pair_at_most + 3 * (0.25 / told.pairs) ** 0.5
    assert told.took_part[0].auc == pytest.approx(0.5, abs=0.12)
    assert told.counts_exact < 0.3


@pytest.mark.ci
def test_a_control_that_succeeds_is_told() -> None:
    target = target_of(None, SUMS, lambda _: None)
    told = from_sums(target, 0)
    assert not [note for note in notes_about(target, [], told) if "not to be trusted" in note]
    few = dataclasses.replace(told.control, auc=0.68, members=640, others=9)  # at chance within two deviations
    assert not [note for note in notes_about(target, [], dataclasses.replace(told, control=few)) if "trusted" in note]
    lying = FromSums(**{**vars(told), "control": told.took_part[0]})
    assert any("not to be trusted" in note for note in notes_about(target, [], lying))


@pytest.mark.parametrize("epsilon", [None, 1e6])
def test_a_class_with_one_image_sends_its_features(epsilon: float | None) -> None:
    """As who knows the front computes them; with so large an epsilon the noise is nothing."""
    prepared = prepared_for(small_config("closed-form", privacy__epsilon=epsilon))
    data = data_of(prepared, 24)
    first = one_of_each(data.labels_N)[0]
    own = data_of(prepared, len(first))
    own.labels_N[:] = np.arange(len(first))
    uploaded, space = single_sums(prepared, own), Space.of(prepared)
    front = SummedFront(build_front(space.bundle, "frozen"), space)
    wanted = front(own.inputs(np.arange(len(own)), 0)).detach().numpy()
    np.testing.assert_allclose(uploaded.decoded(slice(None)), wanted, atol=0.02 if epsilon else 1e-4)
    assert uploaded.bytes_per_image > 4 * wanted[0].size
    np.testing.assert_allclose(worked_out(prepared, front, own, 0).decoded(slice(None)), wanted, atol=0.02)


def test_groups_hold_no_class_twice() -> None:
    labels = np.array([3, 3, 1, 3, 1, 0])
    groups = one_of_each(labels)
    assert [labels[group].tolist() for group in groups] == [[3, 1, 0], [3, 1], [3]]


def test_sums_are_those_of_the_device() -> None:
    prepared = prepared_for(small_config("closed-form"))
    data = data_of(prepared, 20)
    sums = sums_of(prepared, data)
    assert sums.cross_DK[-1].astype(int).tolist() == np.bincount(data.labels_N, minlength=10).tolist()
    assert sums.gram_DD is not None
    assert sums.gram_DD[-1, -1] == 20
    assert [name for name in METHODS if uploads_sums(name)] == ["closed-form"]
