"""The command line in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_fakes import Cli, Ended, FakeEngine

from ecofed.cli import main


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cli:
    """Runs ``ecofed WORDS...`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ecofed", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Ended(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """In place of the real engine for one test."""
    fake = FakeEngine()
    monkeypatch.setitem(sys.modules, "ecofed.runs.experiment", fake)
    return fake
