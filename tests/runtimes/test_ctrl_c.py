"""Ctrl-C: nothing that was finished is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from small import outcome, small_config

from ecofed.results import RoundRecord
from ecofed.runs import experiment
from ecofed.runs.checkpoints import Checkpoint
from ecofed.runs.experiment import run
from ecofed.runs.interruption import SAID
from ecofed.runs.observing import SilentObserver


class PressCtrlC(SilentObserver):
    """Once or twice, at the end of round 3."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.said: list[str] = []

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        for _ in range(self._times if record.round == 3 else 0):
            os.kill(os.getpid(), signal.SIGINT)

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def _seldom_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 1e9)
    monkeypatch.setattr(experiment, "CHECKPOINT_SHARE", 1e9)


@pytest.mark.parametrize(("times", "saved"), [(1, 3), (2, 1)])
def test_the_round_is_finished_and_saved_unless_it_is_pressed_twice(
    times: int, saved: int, pictures: Path, tmp_path: Path
) -> None:
    config = small_config(pictures, rounds=5)
    observer = PressCtrlC(times)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path, observer=observer, report=False)
    assert SAID in observer.said
    checkpoint = Checkpoint.read(tmp_path, config.to_dict())
    assert checkpoint is not None
    assert len(checkpoint.records) == saved
    assert outcome(run(config, out=tmp_path, resume=True, report=False)) == outcome(run(config))


def test_the_handler_is_put_back(pictures: Path) -> None:
    run(small_config(pictures, rounds=1))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_the_last_round_finishes_the_run(pictures: Path, tmp_path: Path) -> None:
    result = run(small_config(pictures, rounds=3), out=tmp_path, observer=PressCtrlC(1), report=False)
    assert len(result.rounds) == 3
