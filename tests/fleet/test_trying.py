"""``ecofed fleet try`` again: a folder of its own, and the earlier fleet as it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ecofed.cli import fleet as command
from ecofed.errors import EcoFedError
from ecofed.fleet import machine


def test_every_fleet_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    wanted = tmp_path / "runs" / "fleet"
    first = machine.unused_folder(wanted)
    assert first == wanted
    assert machine.unused_folder(wanted) == wanted  # nothing is in it yet
    (first / "result").touch()
    second = machine.unused_folder(wanted)
    assert second == tmp_path / "runs" / "fleet-2"
    (second / "logs").mkdir()
    (tmp_path / "runs" / "fleet-3").touch()  # a file in the way
    assert machine.unused_folder(wanted).name == "fleet-4"
    assert [file.name for file in first.iterdir()] == ["result"]


def test_the_command_says_where_the_second_fleet_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class StartedError(Exception):
        pass

    def start(folder: Path, devices: int) -> None:
        raise StartedError(folder, devices)

    monkeypatch.setattr(machine, "Fleet", start)
    monkeypatch.setattr(command, "find_spec", lambda _: True)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.42.0")
    with pytest.raises(StartedError) as first:
        command.try_(out=tmp_path / "fleet")
    assert first.value.args == (tmp_path / "fleet", 4)
    assert capsys.readouterr().err == ""
    (tmp_path / "fleet" / "superlink.db").touch()
    with pytest.raises(StartedError) as second:
        command.try_(out=tmp_path / "fleet")
    assert second.value.args == (tmp_path / "fleet-2", 4)
    told = f"{tmp_path}/fleet holds an earlier fleet, which stays; this one goes to {tmp_path}/fleet-2\n"
    assert capsys.readouterr().err == told
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.43.0")
    with pytest.raises(StartedError):
        command.try_(out=tmp_path / "another")
    assert capsys.readouterr().err.startswith("Flower 1.43.0 is not tested with this version of ecofed (from 1.43")


def test_a_run_that_flower_does_not_start_is_an_error_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``flwr run`` ends with exit code 0 when its SuperLink is too busy."""
    fleet = object.__new__(machine.Fleet)
    fleet.folder = tmp_path
    monkeypatch.setattr(
        machine.Fleet, "flwr", lambda *_: 'a line\n{"success": false, "error-message": "Deadline Exceeded"}'
    )
    with pytest.raises(EcoFedError, match="flwr run: Deadline Exceeded"):
        fleet.run("quickstart", tmp_path / "out")


def test_a_command_of_flower_that_hangs_or_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    fleet = object.__new__(machine.Fleet)
    fleet.folder, fleet._environment = tmp_path, dict(os.environ)
    with pytest.raises(EcoFedError, match=r"python.* -c .*: not done after 0 s; see .*logs"):
        fleet._call([sys.executable, "-c", "import time; time.sleep(9)"], 0.05)
    with pytest.raises(EcoFedError, match="no such fleet"):
        fleet._call([sys.executable, "-c", "raise SystemExit('no such fleet')"], 60)
