"""Fleets whose devices have pictures of their own: what a result says of data that the server never dealt out."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from tiny import tiny_config

from ecofed.data import label_counts
from ecofed.reports.tables import floors
from ecofed.reports.words import partition_sentence, warnings
from ecofed.results import RunResult
from ecofed.runs.experiment import run
from ecofed.runs.preparation import Prepared
from ecofed.runtimes import InProcessTransport

OWN = {1: np.arange(700, 733), 3: np.arange(900, 911)}
"""Which of the set's pictures two devices have in place of what the server would deal them."""


class Fleet(InProcessTransport):
    own_data: ClassVar[set[int]] = set(OWN)


def of_a_fleet(method: str, **changes: object) -> tuple[RunResult, Prepared]:
    seen: list[Prepared] = []

    def connect(prepared: Prepared) -> Fleet:
        seen.append(prepared)
        theirs = [OWN.get(device, share) for device, share in enumerate(prepared.shares)]
        return Fleet(dataclasses.replace(prepared, shares=theirs, parts=theirs).worker)

    result = run(tiny_config(method, sampled_devices=4, **changes), report=False, connect=connect)
    return result, seen[0]


def test_labels_and_numbers_are_those_that_uploads_told() -> None:
    result, prepared = of_a_fleet("ecofed")
    labels_N = prepared.dataset.train.labels_N
    held = [OWN.get(device, part) for device, part in enumerate(prepared.parts)]
    assert result.data.label_counts == label_counts(labels_N, held, 10).tolist()
    assert (result.data.brought, result.data.train_samples) == (2, sum(map(len, held)))
    assert result.data.label_counts != prepared.summary.label_counts
    raw = dict(floors(result))["every image once (raw)"]
    assert raw == 64 * result.data.train_samples  # digits of 8 x 8
    assert "brought by the devices, on 4 devices" in partition_sentence(result)
    assert any("2 of 4 devices brought pictures of their own" in line for line in warnings(result))
    assert result.totals.simulated_seconds is None  # the clock would have timed what the server dealt


def test_where_no_label_leaves_a_device_none_is_made_up() -> None:
    result, prepared = of_a_fleet("classic-fl")
    dealt = prepared.summary.label_counts
    assert result.data.label_counts == [dealt[0], [0] * 10, dealt[2], [0] * 10]
    assert result.data.train_samples == sum(dealt[0]) + 33 + sum(dealt[2]) + 11
    assert not any("hold no samples" in line for line in warnings(result))


def test_what_noise_promises_of_a_whole_device_is_left_open() -> None:
    result, _ = of_a_fleet("closed-form", privacy__epsilon=8.0)
    (said,) = [text for text in result.notes if text.startswith("privacy: epsilon")]
    assert said.endswith("in the one upload of its device (another in its place)")
