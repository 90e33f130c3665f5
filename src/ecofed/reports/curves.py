"""Accuracy as a function of rounds, bytes and simulated time: the numbers under the plots."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from ecofed.results import RunGroup, RunResult

Axis = Literal["round", "bytes", "seconds"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One group's evaluated rounds. With several seeds ``x`` and ``mean`` are means, ``low``..``high`` the range."""

    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]


def points(result: RunResult, axis: Axis) -> dict[int, tuple[float, float]]:
    """``{round: (x, accuracy)}`` of the evaluated rounds; bytes and seconds are sums up to and including the round.

    Empty where the axis is ``seconds`` and the run has no clock.
    """
    records = result.rounds
    if axis == "seconds" and any(record.simulated_seconds is None for record in records):
        return {}
    steps = {
        "round": lambda: [float(record.round) for record in records],
        "bytes": lambda: list(accumulate(float(record.uplink_bytes + record.downlink_bytes) for record in records)),
        "seconds": lambda: list(accumulate(record.simulated_seconds or 0.0 for record in records)),
    }[axis]()
    return {
        record.round: (x, record.test_accuracy)
        for record, x in zip(records, steps, strict=True)
        if record.test_accuracy is not None
    }


def curve(group: RunGroup, axis: Axis) -> Curve:
    """The group's mean curve over the rounds that every seed evaluated."""
    runs = [points(result, axis) for result in group.results]
    shared = sorted(set.intersection(*(set(run) for run in runs)))
    x, mean, low, high = [], [], [], []
    for round_ in shared:
        accuracies = [run[round_][1] for run in runs]
        x.append(sum(run[round_][0] for run in runs) / len(runs))
        mean.append(sum(accuracies) / len(accuracies))
        low.append(min(accuracies))
        high.append(max(accuracies))
    return Curve(x=x, mean=mean, low=low, high=high)


def bytes_to_reach(result: RunResult, target: float) -> float | None:
    """Total bytes until the first evaluation at or above an accuracy; ``None`` if there is none."""
    return next((x for x, accuracy in points(result, "bytes").values() if accuracy >= target), None)
