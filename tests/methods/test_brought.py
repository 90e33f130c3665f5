"""Fleets whose devices have pictures of their own: what a result says of data that the server never dealt out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_config

from ecofed.data import label_counts, load_dataset
from ecofed.errors import ConfigError, DataError
from ecofed.relearning.retraining import retrain
from ecofed.reports.tables import floors
from ecofed.reports.words import partition_sentence, warnings
from ecofed.results import RunResult
from ecofed.runs.evaluating import evaluate
from ecofed.runs.experiment import run
from ecofed.runs.preparation import Prepared, prepare
from ecofed.runtimes import InProcessTransport

OWN = {1: np.arange(700, 733), 3: np.arange(900, 911)}
"""Which of the set's pictures two devices have in place of what the server would deal them."""


class Fleet(InProcessTransport):
    own_data: ClassVar[set[int]] = set(OWN)


class Everybody(InProcessTransport):
    own_data: ClassVar[set[int]] = {0, 1, 2, 3}


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


def test_a_server_needs_no_training_images(tmp_path: Path) -> None:
    """Its folder has test images alone: of as many devices as images, and of more."""
    digits = load_dataset("digits")
    for part, count in (("train", 60), ("test", 30)):
        for number in range(count):
            place = tmp_path / "all" / part / f"d{digits.train.labels_N[number]}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(digits.train.images_NHWC[number, :, :, 0]).save(place / f"{number}.png")
    shutil.copytree(tmp_path / "all" / "test", tmp_path / "server" / "test")
    whole = prepare(tiny_config("ecofed", data__name=str(tmp_path / "all"), **FEW), print)

    def connect(prepared: Prepared) -> Everybody:
        assert [len(share) for share in prepared.shares] == [0] * 4
        given = dataclasses.replace(whole.task, config=prepared.task.config)
        return Everybody(dataclasses.replace(whole, task=given).worker)

    config = tiny_config("ecofed", data__name=str(tmp_path / "server"), **FEW)
    result = run(config, out=tmp_path / "run", connect=connect)
    expected = run(whole.task.config, report=False)
    assert result.data.label_counts == expected.data.label_counts == whole.summary.label_counts
    assert result.totals.final_test_accuracy == expected.totals.final_test_accuracy
    assert (result.data.brought, result.data.train_samples, result.data.test_samples) == (4, 48, 30)
    assert floors(result) == []
    assert (tmp_path / "run" / "report.html").exists()
    assert evaluate(tmp_path / "run").samples == 30
    again = retrain(tmp_path / "run", out=tmp_path / "again", report=False)
    assert (again.data.label_counts, again.data.brought) == (whole.summary.label_counts, 4)
    assert again.totals.simulated_seconds is None
    with pytest.raises(DataError, match="holds no training images"):  # to be simulated they are needed
        run(config, report=False)


def test_a_server_with_fewer_images_than_devices_deals_none() -> None:
    config = tiny_config("ecofed", devices=2000, sampled_devices=4, rounds=1)
    with pytest.raises(ConfigError, match="devices = 2000"):
        prepare(config, print)
    assert sum(map(len, prepare(config, print, fleet=True).shares)) == 0


@pytest.mark.parametrize(("method", "labelled"), [("send-images", True), ("closed-form", False)])
def test_how_many_images_there_are_is_told_by_replies(method: str, labelled: bool) -> None:
    result, prepared = of_a_fleet(method)
    assert result.data.train_samples == 33 + 11 + len(prepared.parts[0]) + len(prepared.parts[2])
    assert (sum(result.data.label_counts[1]) == 33) is labelled


FEW = {"data__partition": "iid", "data__samples_per_device": 12, "sampled_devices": 4, "rounds": 1}
