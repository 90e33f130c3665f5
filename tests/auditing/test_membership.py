"""Who took part: what is told of scores, and a run whose network and buffer are asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attacked import data_of, small_config

from ecofed.auditing import membership
from ecofed.auditing.membership import from_buffer, from_network, told_apart
from ecofed.auditing.target import Target, target_of
from ecofed.config.held_out import held_out
from ecofed.data.decoded import NoTrainingImagesError
from ecofed.errors import ConfigError, DataError
from ecofed.reports.audits import membership_sentence
from ecofed.reports.files import read_result, write_result
from ecofed.results.audits import Membership
from ecofed.runs.experiment import run
from ecofed.runs.inputs import without_devices
from ecofed.runs.kept_buffer import open_buffer


def test_scores_are_judged_as_by_counting_pairs() -> None:
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 12, 60) + 1, rng.integers(0, 12, 80)
    pairs = [(m > o) + 0.5 * (m == o) for m in members for o in others]
    assert told_apart("network", members, others).auc == pytest.approx(np.mean(pairs), abs=1e-9)


def test_all_found_and_none_found() -> None:
    found = told_apart("buffer", np.arange(100, 200), np.arange(100))
    assert (found.auc, found.tpr_at_1_percent_fpr) == (1, 0.99 + 0.01)
    same = told_apart("buffer", np.zeros(50), np.zeros(50))
    assert (same.auc, same.tpr_at_1_percent_fpr) == (0.5, 0)


def test_one_false_alarm_in_a_hundred_is_allowed() -> None:
    others = np.arange(100)
    assert told_apart("network", np.array([98.5, 97.5]), others).tpr_at_1_percent_fpr == 0.5


@pytest.mark.parametrize(("others", "chance"), [(4, 0.2), (100, 2 / 101), (2000, 21 / 2001)])
def test_what_scores_that_say_nothing_find(others: int, chance: float) -> None:
    """Of few others the best is beaten by chance much more often than once in a hundred times."""
    rng = np.random.default_rng(0)
    found = [told_apart("network", rng.random(50), rng.random(others)) for _ in range(300)]
    assert found[0].chance_of_found == pytest.approx(chance)
    assert np.mean([one.tpr_at_1_percent_fpr for one in found]) == pytest.approx(chance, abs=0.1 * chance + 0.002)
    assert f"(chance {chance:.1%})" in membership_sentence(found[0])


@pytest.mark.ci
def test_a_kept_buffer_tells_who_took_part_and_a_run_without_one_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "OF_BUFFER", 24)
    run(small_config(keep_buffer=True), out=tmp_path / "run", report=False)
    target = target_of(tmp_path / "run", (), lambda _: None)
    found = from_buffer(target, 0)
    assert (found.members, found.others) == (24, 24)
    assert found.auc is not None
    assert found.auc > 0.8
    asked = from_network(target, 0)
    assert asked.available
    assert asked.members == 72  # of four devices, three were drawn in two rounds
    (tmp_path / "run" / "model.safetensors").unlink()
    assert from_network(target, 0).why_not == "the run has no trained network"
    with pytest.raises(ConfigError, match="settings are settled"):
        target_of(tmp_path / "run", ["rounds=3"], lambda _: None)


SMALLER: dict[str, Any] = {"data__samples_per_device": 10, "test_samples": 20, "sampled_devices": 4, "rounds": 1}


def asked_about(target: Target, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The training images whose losses the attack takes for those of members."""
    asked: list[np.ndarray] = []

    def logits(images_NHWC: np.ndarray) -> torch.Tensor:
        asked.append(images_NHWC)
        return torch.zeros(len(images_NHWC), 10)

    monkeypatch.setattr(membership, "load_model", lambda _: SimpleNamespace(logits=logits))
    assert from_network(target, 0).members == len(asked[0])
    train_NHWC = target.prepared.dataset.train.images_NHWC
    numbers = {image.tobytes(): number for number, image in enumerate(train_NHWC)}
    return [numbers[image.tobytes()] for image in asked[0]]


@pytest.mark.ci
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ecofed", {"validation__fraction": 0.5, "ecofed__server_steps": 1}),
        ("ecofed", {"validation__fraction": 0.5, "ecofed__server_steps": 1, "keep_buffer": True}),
        ("lgl", {"validation__fraction": 0.5, "validation__on_devices": True, "delivery": "float"}),
        ("classic-fl", {}),
    ],
)
def test_devices_that_were_never_reached_and_samples_that_were_held_out_are_no_members(
    method: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("device,first_round,last_round\n0,9,9\n", encoding="utf-8")
    config = small_config(method, **SMALLER, **changes, availability__trace=str(trace), quorum=0.5)
    result = run(config, out=tmp_path / "run", report=False)
    assert [record.took_part for record in result.rounds] == [[1, 2, 3]]
    target = target_of(tmp_path / "run", (), lambda _: None)
    own = [share[~held_out(config, device, np.arange(10))] for device, share in enumerate(target.prepared.shares)]
    assert asked_about(target, monkeypatch) == sorted(np.concatenate(own[1:]))


@pytest.mark.ci
def test_devices_that_tell_counts_number_their_samples_in_an_order_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(**SMALLER, privacy__labels="counts", keep_buffer=True, kept_per_device=3)
    run(config, out=tmp_path / "run", report=False)
    target = target_of(tmp_path / "run", (), lambda _: None)
    kept, found = open_buffer(tmp_path / "run").buffer, list[int]()
    for device, share in enumerate(target.prepared.shares):
        found += share[data_of(target.prepared, 10, device).given_as_N[kept.latest(device).sample_N]].tolist()
    assert asked_about(target, monkeypatch) == sorted(found)


def test_where_nobody_knows_who_took_part_the_audit_says_so(tmp_path: Path) -> None:
    config = small_config(**SMALLER, ecofed__server_steps=1, data__augment=False)
    run(config, out=tmp_path / "run", report=False)
    run(config.replace(keep_buffer=True), out=tmp_path / "kept", report=False)

    targets = {folder: target_of(tmp_path / folder, (), lambda _: None) for folder in ("run", "kept")}
    assert from_network(targets["run"], 0).available
    assert from_buffer(targets["kept"], 0).available

    def why_not(folder: str, ask: Callable[[Target, int], Membership], **changes: Any) -> str:
        target = targets[folder]
        assert target.result is not None
        return ask(dataclasses.replace(target, result=dataclasses.replace(target.result, **changes)), 0).why_not

    first = read_result(tmp_path / "run")
    earlier = [dataclasses.replace(record, took_part=None) for record in first.rounds]
    assert "did not record who took part" in why_not("run", from_network, rounds=earlier)
    nobody = [dataclasses.replace(record, took_part=[]) for record in first.rounds]
    assert why_not("run", from_network, rounds=nobody) == "no device took part"
    assert "audit that one" in why_not("run", from_network, origin={})
    theirs = without_devices(first.inputs)
    assert "brought images of their own" in why_not("run", from_network, inputs=theirs)
    for ask in (from_network, from_buffer):
        assert "brought images of their own" in why_not("kept", ask, inputs=theirs)


def test_a_kept_buffer_brings_the_front_and_not_the_data(tmp_path: Path) -> None:
    run(small_config(keep_buffer=True, rounds=1), out=tmp_path, report=False)
    result = read_result(tmp_path)

    def audited_with(**others: str) -> None:
        write_result(dataclasses.replace(result, inputs=result.inputs | others), tmp_path)
        target_of(tmp_path, (), lambda _: None)

    for name in ("training pictures", "training labels", "division of the data"):
        assert name in result.inputs
        with pytest.raises(ConfigError, match=f"'{name}' is not what the run read"):
            audited_with(**{name: "other"})
    audited_with(front="another one now")
    (tmp_path / "kept" / "index.safetensors").unlink()
    with pytest.raises(ConfigError, match="'front' is not what the run read"):
        audited_with(front="another one now")


def test_where_the_server_has_test_images_alone_the_audit_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(small_config(rounds=1), out=tmp_path, report=False)

    def no_training_images(*_: Any) -> None:
        raise NoTrainingImagesError("pictures: holds no training images")

    monkeypatch.setattr("ecofed.auditing.target.prepare", no_training_images)
    with pytest.raises(DataError, match=r"pictures: holds no training images; where .*--set data.name=FOLDER"):
        target_of(tmp_path, (), lambda _: None)
