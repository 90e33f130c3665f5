"""Runs at the same time: what they give is what they give one after the other."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import BASE, outcome

import ecofed
from ecofed.config import Config, Settings
from ecofed.errors import ConfigError, DataError
from ecofed.results import Comparison, RoundRecord, RunResult
from ecofed.runs import side_by_side
from ecofed.runs.experiment import compare
from ecofed.runs.observing import SilentObserver

METHODS = ("ecofed", "closed-form")
pytestmark = [pytest.mark.ci, pytest.mark.usefixtures("often_saved_without_reports")]


def settings_of(pictures: Path, **changes: object) -> Settings:
    keys = (
        BASE | {"data.name": pictures, "rounds": 2} | {key.replace("__", "."): value for key, value in changes.items()}
    )
    return Settings.load(None, [f"{key}={value}" for key, value in keys.items()])


class Told(SilentObserver):
    """Writes down who said what."""

    def __init__(self) -> None:
        self.said: list[tuple[str, int]] = []
        self.notes: list[str] = []
        self._method = ""

    def started(self, config: Config, records: Any) -> None:  # noqa: ARG002
        self._method = config.method
        self.said.append((config.method, 0))

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        self.said.append((self._method, record.round))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def finished(self, result: RunResult) -> None:
        self.said.append((result.method, -1))


class Beside(Told):
    """Can show several: each with an observer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[Told] = []

    def beside(self) -> Told:
        self.others.append(Told())
        return self.others[-1]


def outcomes(made: Comparison) -> list[dict[str, Any]]:
    return [outcome(result) for result in made.results]


@pytest.fixture(scope="module")
def alone(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return compare(settings_of(pictures), METHODS, out=tmp_path_factory.mktemp("alone"))


def test_the_results_are_those_of_one_after_the_other_and_are_told_in_order(
    alone: Comparison, pictures: Path, tmp_path: Path
) -> None:
    observer = Told()
    together = compare(settings_of(pictures), METHODS, out=tmp_path, jobs=2, observer=observer)
    assert outcomes(together) == outcomes(alone)
    assert [method for method, number in observer.said if number == -1] == list(METHODS)
    assert observer.said[:4] == [("ecofed", 0), ("ecofed", 1), ("ecofed", 2), ("ecofed", -1)]
    assert (tmp_path / "ecofed" / "model.safetensors").exists()


def test_each_may_use_its_share_of_the_cores(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[str] = []

    def started(command: Any, **options: Any) -> Any:
        shares.append(options["env"]["ECOFED_CORES"])
        return popen(command, **options)

    popen = side_by_side.subprocess.Popen
    monkeypatch.setattr(side_by_side.subprocess, "Popen", started)
    monkeypatch.setenv("ECOFED_CORES", "5")
    compare(settings_of(pictures, rounds=1), METHODS, out=tmp_path, jobs=2)
    assert shares == ["2", "2"]


def test_ctrl_c_stops_all_of_them_and_resume_goes_on(alone: Comparison, pictures: Path, tmp_path: Path) -> None:
    class Pressing(Beside):
        def beside(self) -> Told:
            made = super().beside()
            made.started = lambda *_: os.kill(os.getpid(), signal.SIGINT)  # type: ignore[method-assign]
            return made

    observer = Pressing()
    settings = settings_of(pictures)
    with pytest.raises(KeyboardInterrupt):
        compare(settings, METHODS, out=tmp_path, jobs=2, observer=observer)
    assert any("stopping" in text for text in observer.notes)
    assert not (tmp_path / "report.html").exists()
    assert {method for one in observer.others for method, _ in one.said} <= set(METHODS)
    assert outcomes(compare(settings, METHODS, out=tmp_path, resume=True)) == outcomes(alone)


def test_ctrl_c_while_they_start_is_no_traceback(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def started(*words: Any, **options: Any) -> Any:
        made = popen(*words, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return made

    popen = side_by_side.subprocess.Popen
    monkeypatch.setattr(side_by_side.subprocess, "Popen", started)
    settings = settings_of(pictures, rounds=1)
    with pytest.raises(KeyboardInterrupt):
        compare(settings, METHODS, out=tmp_path, jobs=2)
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_of_one_is_that_of_all(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told from a folder in which a file has the name of a module that everybody imports, too."""
    (tmp_path / "random.py").write_text("raise SystemExit('not this one')")
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    monkeypatch.chdir(tmp_path)
    settings = settings_of(pictures, data__name=tmp_path / "nothing")
    with pytest.raises(DataError, match=r"nothing.*no such file"):
        compare(settings, METHODS, out=tmp_path / "out", jobs=2)


@pytest.mark.slow
def test_where_memory_is_short_there_are_fewer_at_a_time(
    alone: Comparison, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "free_bytes", lambda: 1)
    observer = Told()
    assert outcomes(compare(settings_of(pictures), METHODS, out=tmp_path, jobs=2, observer=observer)) == outcomes(alone)
    assert [text for text in observer.notes if "side by side" in text and "1 side by side, not 2" in text]


def test_what_is_in_this_process_alone_is_refused(pictures: Path, tmp_path: Path) -> None:
    part = np.zeros((8, 32, 32), np.uint8), np.arange(8) % 2
    changes = {key.replace(".", "__"): value for key, value in BASE.items()}
    with pytest.raises(ConfigError, match=r"^jobs: arrays"):
        ecofed.compare(None, list(METHODS), data=(part, part), out=tmp_path, jobs=2, **changes)
    with pytest.raises(ConfigError, match=r"^jobs = 0: must be at least 1"):
        compare(settings_of(pictures), METHODS, out=tmp_path / "none", jobs=0)
