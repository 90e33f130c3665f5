"""Rounds in which nothing was trained are counted where a reader looks; a run of nothing else is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecofed.cli.output import print_results
from ecofed.config import Settings
from ecofed.config.methods import METHODS
from ecofed.errors import EcoFedError
from ecofed.methods.base import RoundOutcome
from ecofed.methods.loop import train
from ecofed.reports.files import read_result, read_summary
from ecofed.reports.words import warnings
from ecofed.results import RunResult
from ecofed.runs import experiment
from ecofed.runs.run_folder import MODEL_FILE
from slowly import quick

TINY = (
    *("model.name=lenet", "model.width=0.5", "data.name=digits", "initialisation=random", "normalisation=group"),
    *("devices=4", "sampled_devices=2", "rounds=2", "batch_size=10", "data.samples_per_device=10", "test_samples=10"),
)
NOBODY = "availability.share=1e-9"


def settings(*sets: str) -> Settings:
    return Settings.load(None, [*TINY, *sets])


def run(method: str, *sets: str, **how: Any) -> RunResult:
    return experiment.run(settings(*sets).for_method(method), report=False, **how)


@pytest.mark.parametrize("method", quick(METHODS, "ecofed", "classic-fl"))
def test_a_run_that_nobody_took_part_in_is_an_error_and_its_records_are_kept(method: str, tmp_path: Path) -> None:
    told = f"{method}: nothing was trained in any of its 2 rounds .0 of 2 devices answered, 1 are needed.; .*{tmp_path}"
    with pytest.raises(EcoFedError, match=told) as failure:
        run(method, NOBODY, out=tmp_path)
    assert failure.value.exit_code == 1
    result = read_result(tmp_path)
    assert [record.trained for record in result.rounds] == [False, False]
    assert "in 2 of 2 rounds nothing was trained" in result.notes
    assert not (tmp_path / MODEL_FILE).exists()  # random weights would pass for a trained network
    with pytest.raises(EcoFedError, match="nothing was trained in any"):  # shown again, it is no success either
        run(method, NOBODY, out=tmp_path, resume=True)


@pytest.mark.parametrize("method", ["ecofed", "send-images"])
def test_when_all_uploads_are_held_out_the_reason_is_named(method: str) -> None:
    with pytest.raises(EcoFedError, match=r"all that devices uploaded is held out.*lower validation\.fraction"):
        run(method, "validation.fraction=0.999")


@pytest.mark.parametrize("method", quick(METHODS, "ecofed", "classic-fl"))
def test_a_run_of_which_some_rounds_trained_says_how_many_did_not(method: str) -> None:
    result = run(method, "availability.share=0.5", "seed=2", "rounds=6", "quorum=0.6")
    idle = sum(record.trained is False for record in result.rounds)
    assert 0 < idle < 6
    assert all(record.trained in (True, False) for record in result.rounds)
    assert f"in {idle} of 6 rounds nothing was trained" in result.notes
    assert f"{method}: in {idle} of 6 rounds nothing was trained" in warnings(result)


def test_a_run_whose_rounds_all_trained_says_nothing() -> None:
    result = run("classic-fl")
    assert [record.trained for record in result.rounds] == [True, True]
    assert not any("nothing was trained" in note for note in result.notes)


def test_a_comparison_is_completed_before_it_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EcoFedError, match="classic-fl: nothing was trained in any of its 2 rounds"):
        experiment.compare(settings(NOBODY), ["classic-fl", "lgl"], out=tmp_path)
    made = read_summary(tmp_path)
    assert [result.method for result in made.results] == ["classic-fl", "lgl"]
    print_results(made, tmp_path)
    assert "note: lgl: in 2 of 2 rounds nothing was trained" in capsys.readouterr().out
    with pytest.raises(EcoFedError, match="nothing was trained"):
        experiment.compare(settings(NOBODY), ["classic-fl", "lgl"], out=tmp_path, resume=True)


class _Channel:
    """Of a round in which one device was asked and answered."""

    asked = answered = 1
    ever_answered, device_seconds, exchanges, notes, took_part = True, 0.0, (), (), (0,)

    class ledger:  # noqa: N801
        total = staticmethod(lambda _direction: 0)

    def start_round(self, round_: int) -> None:
        pass


class _Own:
    """A method of somebody's that tells no loss."""

    config, channel, asks_devices = settings("rounds=1").for_method("classic-fl"), _Channel(), True

    def train_round(self, round_: int, sampled: object) -> RoundOutcome:  # noqa: ARG002
        return RoundOutcome()


def test_a_method_that_tells_no_loss_is_not_accused() -> None:
    method: Any = _Own()
    (record,) = train(method, lambda: (None, None))
    assert record.trained is None
