"""Who took part: what is told of scores, and a run whose network and buffer are asked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from attacked import small_config

from ecofed.auditing import membership
from ecofed.auditing.membership import from_buffer, from_network, told_apart
from ecofed.auditing.target import target_of
from ecofed.errors import ConfigError
from ecofed.reports.files import read_result, write_result
from ecofed.runs.experiment import run


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
    assert asked.members == 96
    (tmp_path / "run" / "model.safetensors").unlink()
    assert from_network(target, 0).why_not == "the run has no trained network"
    with pytest.raises(ConfigError, match="settings are settled"):
        target_of(tmp_path / "run", ["rounds=3"], lambda _: None)


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
