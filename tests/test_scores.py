"""Counts and what follows from them, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ecofed.results.scores import BINS, MOST_CLASSES, Tally, counted_scores, interval


def tallied(labels: list[int], answers: list[int], confidence: list[float], classes: int = 3) -> Tally:
    tally = Tally(classes)
    for at in (slice(0, 2), slice(2, None)):  # some at a time
        tally.add(np.array(labels[at], int), np.array(answers[at], int), np.array(confidence[at]))
    return tally


def test_answers_are_counted_by_class() -> None:
    scores = tallied([0, 0, 1, 1, 1], [0, 1, 1, 1, 0], [0.9, 0.5, 1.0, 0.6, 0.4]).scores()
    assert (scores.samples, scores.right, scores.accuracy) == (5, 3, 0.6)
    assert scores.confusion == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert (scores.class_samples, scores.class_right) == ([2, 3, 0], [1, 2, 0])
    assert scores.class_accuracy == [0.5, pytest.approx(2 / 3), None]
    assert scores.fits(3)
    assert not scores.fits(2)


def test_the_calibration_error_is_the_mean_distance_within_bins() -> None:
    # 0.72 and 0.68 share a bin (0.667 to 0.733): half of them right, 0.70 sure. 1.0 has the last: right.
    found = tallied([0, 0, 1, 2], [0, 1, 1, 2], [0.72, 0.68, 1.0, 1.0]).scores().calibration
    assert found is not None
    assert found.error == pytest.approx((2 * 0.2 + 2 * 0.0) / 4)
    assert len(found.samples) == BINS
    assert {at: count for at, count in enumerate(found.samples) if count} == {10: 2, 14: 2}
    assert (found.accuracy[10], found.confidence[10], found.accuracy[0]) == (0.5, pytest.approx(0.70), None)


def test_a_network_that_gives_no_numbers_has_no_calibration() -> None:
    scores = tallied([0, 1], [0, 0], [float("nan"), 0.5]).scores()
    assert scores.calibration is None
    assert scores.right == 1


def test_nothing_has_no_accuracy() -> None:
    scores = counted_scores([0, 0], [0, 0])
    assert (scores.accuracy, scores.low, scores.high, scores.class_accuracy) == (None, None, None, [None, None])


def test_very_many_classes_have_no_matrix() -> None:
    assert tallied([0, 1, 2], [0, 1, 2], [1.0, 1.0, 1.0], MOST_CLASSES + 1).scores().confusion is None


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"), [(8, 10, 0.4902, 0.9433), (0, 20, 0.0, 0.1611), (1600, 2000, 0.7819, 0.8169)]
)
def test_wilsons_interval(right: int, samples: int, low: float, high: float) -> None:
    assert interval(right, samples) == pytest.approx((low, high), abs=1e-4)
