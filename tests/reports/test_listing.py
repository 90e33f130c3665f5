"""``ecofed runs``: an index of what ran."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ecofed.cli import main
from ecofed.errors import EcoFedError
from ecofed.files.disk import json_text
from ecofed.files.ownership import owned
from ecofed.reports import listing
from ecofed.reports.files import write_result
from ecofed.reports.listing import MOST_LEVELS, list_runs
from ecofed.reports.unfinished import write_unfinished
from ecofed.results import RunResult

Make = Callable[..., RunResult]


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["ecofed", "runs", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    told = capsys.readouterr()
    return int(stop.value.code or 0), told.out, told.err


def begin(result: RunResult, folder: Path, rounds: int) -> None:
    folder.mkdir(parents=True)
    write_unfinished(result, folder)
    (folder / "metrics.jsonl").write_text("".join(json_text(one.to_dict()) + "\n" for one in result.rounds[:rounds]))


@pytest.fixture
def runs(make: Make, tmp_path: Path) -> Path:
    """Four runs, each in another state, written one after the other, among other files."""
    result = make(rounds=20)
    for number, name in enumerate(("done", "both/one", "both/two", "torn")):
        folder = tmp_path / name
        if name == "done":
            folder.mkdir()
            write_result(result, folder)
        elif name == "torn":
            folder.mkdir()
            (folder / "result.json").write_text('{"schema": ')
        else:
            begin(result, folder, 7 if name == "both/one" else 0)
        for file in folder.iterdir():
            os.utime(file, (1e9 + number, 1e9 + number))
    (tmp_path / "photos").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "result.json").write_text("{}")
    return tmp_path


def test_every_run_is_listed_with_how_far_it_came(runs: Path, make: Make) -> None:
    result = make(rounds=20)
    with owned(runs / "both"):
        found = list_runs(runs)
    assert [(one.folder, one.state) for one in found] == [
        *(("torn", "damaged"), ("both/two", "running"), ("both/one", "running"), ("done", "finished")),
    ]
    assert {one.state for one in list_runs(runs) if one.folder.startswith("both")} == {"stopped"}
    damaged, before, partly, done = found
    assert damaged.problem.startswith(f"{runs / 'torn' / 'result.json'}: ")
    assert (before.rounds_done, before.rounds, before.accuracy, before.bytes) == (0, None, None, 0)
    assert (partly.rounds_done, partly.rounds) == (7, 20)
    assert partly.bytes == sum(one.uplink_bytes + one.downlink_bytes for one in result.rounds[:7])
    assert (done.method, done.seed, done.bytes) == (result.method, result.seed, result.total_bytes)
    assert done.accuracy == pytest.approx(result.totals.final_test_accuracy)
    assert done.changed == "2001-09-09T01:46:40+00:00"


def test_a_run_that_ends_while_it_is_read_is_finished(runs: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(folder: Path) -> None:
        write_result(make(rounds=20), folder)
        raise EcoFedError(f"{folder}: no such file")

    monkeypatch.setattr(listing, "read_begun", gone)
    states = {one.folder: one.state for one in list_runs(runs)}
    assert states == {"torn": "damaged", "both/one": "finished", "both/two": "finished", "done": "finished"}


def test_the_command_prints_a_table_or_json(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = shown(monkeypatch, capsys, str(runs))
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split()[:3] == ["run", "state", "method"]
    assert [line.split()[:2] for line in lines[1:5]] == [
        *(["torn", "damaged"], ["both/two", "stopped"], ["both/one", "stopped"], ["done", "finished"]),
    ]
    assert lines[5].startswith("damaged: ")
    code, out, _ = shown(monkeypatch, capsys, str(runs), "--json")
    assert [one["folder"] for one in json.loads(out)] == ["torn", "both/two", "both/one", "done"]


def test_nothing_and_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = shown(monkeypatch, capsys, str(tmp_path))
    assert (code, "no run here" in out) == (0, True)
    code, _, err = shown(monkeypatch, capsys, str(tmp_path / "none"))
    assert (code, err) == (
        1,
        f"error: {tmp_path / 'none'}: no such folder; runs are in runs/ unless --out says otherwise\n",
    )


def test_folders_far_below_are_not_walked(tmp_path: Path, make: Make) -> None:
    for depth in (MOST_LEVELS, MOST_LEVELS + 1):
        folder = tmp_path.joinpath(*"abcdefgh"[:depth])
        folder.mkdir(parents=True, exist_ok=True)
        write_result(make(rounds=20), folder)
    assert [one.folder.count("/") + 1 for one in list_runs(tmp_path)] == [MOST_LEVELS]
    with pytest.raises(EcoFedError, match="no such folder"):
        list_runs(tmp_path / "a" / "result.json")
