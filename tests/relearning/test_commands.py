"""The commands that learn again, as they are typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ecofed.cli import main

Cli = Callable[..., str]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs ``ecofed WORDS...``, which must end with ``code``; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["ecofed", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert stop.value.code == code, captured.err
        return captured.out if code == 0 else captured.err

    return run


def test_a_buffer_is_listed(cli: Cli, collected: Path) -> None:
    lines = cli("buffer", collected).splitlines()
    assert lines[0].split() == ["device", "views", "samples", "bytes", "round", "age", "classes"]
    assert [line.split()[0] for line in lines[1:5]] == ["0", "1", "2", "3"]
    assert lines[5].startswith("48 samples of 4 devices, ")
    found = json.loads(cli("buffer", collected, "--json"))
    assert found["samples"] == sum(found["classes"].values()) == sum(one["samples"] for one in found["devices"])
    assert {one["round"] + one["age"] for one in found["devices"]} == {4}


def test_a_folder_without_one(cli: Cli, tmp_path: Path) -> None:
    said = cli("buffer", tmp_path, code=2)
    assert said.startswith(f"error: {tmp_path} keeps no buffer")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["buffer", "retrain", "update", "tune", "forget"])
def test_a_run_that_is_not_there(cli: Cli, command: str) -> None:
    words = ["--device", "1"] if command == "forget" else []
    said = cli(command, Path("runs/none"), *words, code=2)
    assert said.startswith("error: runs/none: there is no such run; ")


def test_another_back(cli: Cli, collected: Path, tmp_path: Path) -> None:
    printed = cli("retrain", collected, "--set", "learning_rate=0.03", "--out", "again")
    assert "ecofed learned=all learning_rate=0.03" in printed
    assert "ecofed learning_rate=0.01" in printed
    assert (tmp_path / "again" / "model.safetensors").is_file()
    refused = cli("retrain", collected, "--out", "again", code=2)
    assert "is not empty; add --resume" in refused
    shown = json.loads(cli("retrain", collected, "--set", "learning_rate=0.03", "--out", "again", "--resume", "--json"))
    assert shown["origin"]["run"] == "run"


def test_a_device_is_forgotten(cli: Cli, copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    assert "must be a device's number" in cli("forget", folder, "--device", "one", code=2)
    printed = cli("forget", folder, "--device", "1,2", "--device", "3", "--by", "A. Clerk", "--out", "new")
    assert "ecofed learned=as-uploaded" in printed
    listed = cli("buffer", folder)
    assert "forgotten: device 1\nforgotten: device 2\nforgotten: device 3\n" in listed
    assert json.loads((folder / "forgotten.json").read_text("utf-8"))["deletions"][0]["by"] == "A. Clerk"
    last = cli("forget", folder, "--device", "0", "--out", "newer")
    assert "nothing is left in the buffer" in last


@pytest.mark.ci
def test_a_search_is_printed(cli: Cli, collected: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecofed.relearning import tuning

    monkeypatch.setattr(tuning, "_carry_out", lambda task: (task[1], task[1] / 10))
    printed = cli("tune", collected, "--trials", 4, "--workers", 1, "--out", "search").splitlines()
    assert printed[0].split()[:3] == ["trial", "held-out", "accuracy"]
    assert printed[1].split()[:2] == ["3", "0.3000"]
    assert printed[4].startswith("0 (the run's own)")
    assert any(line.startswith("4 trials moved 0 bytes; as many of classic-fl would have moved") for line in printed)
    assert any(line.startswith(f"ecofed retrain {collected} --set learning_rate=") for line in printed)
    assert "is not empty; add --resume" in cli("tune", collected, "--out", "search", code=2)


def test_new_images_are_asked_for(cli: Cli, collected: Path) -> None:
    printed = cli("update", collected, "--set", "data.samples_per_device=14", "--set", "rounds=2", "--out", "more")
    assert "learned=updated, anew" in printed
    assert "is not empty; add --resume" in cli("update", collected, "--out", "more", code=2)
