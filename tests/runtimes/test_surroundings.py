"""Folders that cannot be written, disks that fill up, homes that are not there."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from small import BASE, outcome, small_config

import ecofed
from ecofed.cli import main
from ecofed.config import Settings
from ecofed.data import fetch
from ecofed.errors import DataError, ModelError, StorageError
from ecofed.reports.unfinished import METRICS_FILE, UNFINISHED_FILE
from ecofed.results import RoundRecord
from ecofed.runs import experiment
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from ecofed.runs.experiment import compare, run
from ecofed.runs.frontier import frontier
from ecofed.runs.observing import SilentObserver


class Listener(SilentObserver):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def make_read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a disk that is mounted so: for root, too, whom permissions do not stop."""

    def refusing(name: str) -> None:
        real = getattr(os, name)

        def call(path: object, *arguments: object, **options: object) -> object:
            writes = name != "open" or int(arguments[0]) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)  # type: ignore[call-overload]
            inside = isinstance(path, str | Path) and Path(path).is_relative_to(folder)
            if writes and inside and not (name == "mkdir" and Path(path).exists()):  # type: ignore[arg-type]
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("open", "mkdir", "unlink", "rmdir", "replace", "rename"):
        refusing(name)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: allowed(path, mode) and not mode & os.W_OK)


def settings_of(pictures: Path, **changes: object) -> Settings:
    return Settings.load(None, [f"{key}={value}" for key, value in (BASE | {"data.name": pictures} | changes).items()])


def test_a_finished_run_is_shown_from_a_folder_that_cannot_be_written(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(pictures, "classic-fl", rounds=1)
    first = run(config, out=tmp_path / "run")
    (tmp_path / "run" / CHECKPOINT_FILE).touch()  # as if killed before it was removed
    make_read_only(tmp_path / "run", monkeypatch)
    listener = Listener()
    again = run(config, out=tmp_path / "run", resume=True, observer=listener)
    assert outcome(again) == outcome(first)
    assert listener.notes == []
    words = [word for key, value in (BASE | {"data.name": pictures}).items() for word in ("--set", f"{key}={value}")]
    words += ["--set", "method=classic-fl", "--set", "rounds=1", "--out", str(tmp_path / "run"), "--resume", "--json"]
    monkeypatch.setattr(sys, "argv", ["ecofed", "run", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["totals"] == first.to_dict()["totals"]


def test_a_missing_report_that_cannot_be_written_is_a_note(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(pictures, "classic-fl", rounds=1)
    first = run(config, out=tmp_path / "run", report=False)
    make_read_only(tmp_path / "run", monkeypatch)
    listener = Listener()
    assert outcome(run(config, out=tmp_path / "run", resume=True, observer=listener)) == outcome(first)
    assert len(listener.notes) == 1
    assert "the report was not written" in listener.notes[0]
    assert "Read-only file system" in listener.notes[0]


def test_a_finished_comparison_is_shown_from_a_folder_that_cannot_be_written(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, listener = settings_of(pictures, rounds=1), Listener()
    first = compare(settings, ["classic-fl"], out=tmp_path / "both")
    make_read_only(tmp_path / "both", monkeypatch)
    again = compare(settings, ["classic-fl"], out=tmp_path / "both", resume=True, observer=listener)
    assert again.results == first.results
    assert listener.notes == []


def test_a_report_that_fails_is_a_note_and_the_result_stays(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no font\nanywhere")

    monkeypatch.setattr(experiment, "write_report", fail)
    listener = Listener()
    run(small_config(pictures, "classic-fl", rounds=1), out=tmp_path / "run", observer=listener)
    assert listener.notes[-1] == (
        "the report was not written (no font anywhere); the results are complete: "
        f"ecofed report {tmp_path / 'run'} tries again"
    )
    assert (tmp_path / "run" / "result.json").exists()
    assert not (tmp_path / "run" / "report.html").exists()
    compare(settings_of(pictures, rounds=1), ["classic-fl"], out=tmp_path / "both", observer=listener)
    assert "the report was not written" in listener.notes[-1]
    assert (tmp_path / "both" / "summary.json").exists()


def test_a_plot_of_a_frontier_that_fails_is_a_note(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.reports.frontiers.write_frontier_plot", lambda *_: 1 / 0)
    settings, listener = settings_of(pictures, rounds=1), Listener()
    frontier(settings, out=tmp_path, bits=[8], views=[1], fronts=["random"], observer=listener)
    assert listener.notes[-1] == "frontier.png was not drawn (division by zero); frontier.json is complete"
    assert (tmp_path / "frontier.json").exists()


def test_a_finished_frontier_is_shown_from_a_folder_that_cannot_be_written(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, listener = settings_of(pictures, rounds=1), Listener()
    options: dict[str, Any] = {"out": tmp_path, "bits": [8], "views": [1], "fronts": ["random"], "observer": listener}
    first = frontier(settings, **options)
    make_read_only(tmp_path, monkeypatch)
    assert frontier(settings, resume=True, **options) == first
    assert not [note for note in listener.notes if "not" in note]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("ecofed.runs.exporting.TemporaryDirectory", OSError(errno.ENOENT, "No usable temporary directory found")),
        (
            "ecofed.runs.exporting.load_model",
            ModelError("'model.conv1.weight' has entries that are not finite numbers"),
        ),
    ],
)
def test_a_network_that_cannot_be_delivered_is_a_note(
    place: str, reason: Exception, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise reason

    monkeypatch.setattr(place, fail)
    result = run(small_config(pictures, "classic-fl", rounds=1, delivery="float"), report=False)
    assert result.notes[-1] == f"the trained network was not delivered ({reason})"


class FillDisk(SilentObserver):
    """The disk is full from the end of a round on."""

    def __init__(self, round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._round, self._monkeypatch = round_, monkeypatch

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        if record.round == self._round:
            self._monkeypatch.setattr(os, "fsync", full)


def full(_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_fills_up_names_the_file_and_the_run_goes_on_later(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", -1.0)
    config = small_config(pictures, rounds=3)
    whole = run(config, report=False)
    with monkeypatch.context() as patch, pytest.raises(StorageError) as caught:
        run(config, out=tmp_path, observer=FillDisk(2, patch), report=False)
    assert str(caught.value) == f"{tmp_path / CHECKPOINT_FILE}: cannot be written (No space left on device)"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CHECKPOINT_FILE, METRICS_FILE, UNFINISHED_FILE]
    kept = Checkpoint.read(tmp_path, config.to_dict())
    assert kept is not None
    assert len(kept.records) == 1
    assert outcome(run(config, out=tmp_path, resume=True, report=False)) == outcome(whole)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("home", ["/proc/nowhere", None, ""])
def test_a_home_that_cannot_be_written_costs_time_and_nothing_else(
    home: str | None, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(pictures, "classic-fl", rounds=1)
    usual = outcome(run(config, report=False))
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    else:
        monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")
    monkeypatch.chdir(tmp_path)
    assert outcome(run(config, out=tmp_path / "run", report=False)) == usual
    assert ecofed.evaluate(tmp_path / "run").samples == 16
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    monkeypatch.delenv("ECOFED_DATA", raising=False)
    with pytest.raises(DataError, match=r"cannot be made \(.*\); name another place for the cache with XDG_CACHE_HOME"):
        fetch("cifar100", say=lambda _: None)


def no_home() -> Path:
    """What ``Path.home`` does for a user whom the system does not know, as in a container."""
    raise RuntimeError("Could not determine home directory.")
