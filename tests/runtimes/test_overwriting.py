"""From Python, too, results are replaced only when the user says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small import BASE, outcome, small_config

import ecofed
from ecofed.config import Settings
from ecofed.errors import ConfigError
from ecofed.results import Comparison
from ecofed.runs import experiment
from ecofed.runs.frontier import frontier


@pytest.fixture(autouse=True)
def _no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take seconds, and are not what is asked here."""
    monkeypatch.setattr(experiment, "write_report", lambda *_: None)


def settings_of(pictures: Path, **changes: object) -> Settings:
    return Settings.load(None, [f"{key}={value}" for key, value in (BASE | {"data.name": pictures} | changes).items()])


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


REFUSED = r"is not empty; resume=True continues what is there, overwrite=True replaces it, or choose another folder"


def test_run_replaces_a_finished_run_only_with_overwrite(pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, "classic-fl", rounds=1)
    ecofed.run(config, out=tmp_path, report=False)
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=REFUSED):
        ecofed.run(config.replace(seed=1), out=tmp_path, report=False)
    assert content(tmp_path) == before
    other = ecofed.run(config.replace(seed=1), out=tmp_path, overwrite=True, report=False)
    assert outcome(other) == outcome(ecofed.run(config.replace(seed=1)))
    assert ecofed.load(tmp_path).to_dict()["seed"] == 1


def test_compare_replaces_a_comparison_only_with_overwrite(pictures: Path, tmp_path: Path) -> None:
    first, second = settings_of(pictures, rounds=1), settings_of(pictures, rounds=1, seed=1)
    ecofed.compare(first, "classic-fl", out=tmp_path)
    before = content(tmp_path)
    with pytest.raises(ConfigError, match=REFUSED):
        ecofed.compare(second, "classic-fl", out=tmp_path)
    assert content(tmp_path) == before
    ecofed.compare(second, "classic-fl", out=tmp_path, overwrite=True)
    found = ecofed.load(tmp_path)
    assert isinstance(found, Comparison)
    assert [result.seed for result in found.results] == [1]


def test_a_sweep_and_what_a_user_keeps_there_are_no_exception(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    options: dict[str, Any] = {"bits": [8], "views": [1], "fronts": ["random"]}
    nothing = "is not empty, and no run is in it; choose another folder with out"  # to continue there is nothing
    with pytest.raises(ConfigError, match=nothing):
        frontier(settings_of(pictures, rounds=1), out=tmp_path, **options)
    with pytest.raises(ConfigError, match=nothing):
        ecofed.run(small_config(pictures, "classic-fl", rounds=1), out=tmp_path)
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_results_of_another_command_are_never_replaced(pictures: Path, tmp_path: Path) -> None:
    settings = settings_of(pictures, rounds=1)
    ecofed.compare(settings, "classic-fl", out=tmp_path / "both")
    ecofed.run(settings.for_method("classic-fl"), out=tmp_path / "one", report=False)
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(ConfigError, match=r"both holds summary\.json of another command"):
            ecofed.run(settings.for_method("classic-fl"), out=tmp_path / "both", **options)
        with pytest.raises(ConfigError, match=r"one holds result\.json of another command"):
            ecofed.compare(settings, "classic-fl", out=tmp_path / "one", **options)
    with pytest.raises(ConfigError, match="either continued or replaced"):
        ecofed.run(settings.for_method("classic-fl"), out=tmp_path / "one", resume=True, overwrite=True)
