"""One run that keeps its buffer, for every test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from again import kept_config

from ecofed.runs import experiment
from ecofed.runs.experiment import run


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("collected") / "run"
    run(kept_config(), out=folder, report=False, command="ecofed run")
    return folder


@pytest.fixture
def copied(collected: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a copy of it."""

    def copy(name: str = "run") -> Path:
        return Path(shutil.copytree(collected, tmp_path / name))

    return copy


@pytest.fixture
def often_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are saved after every round."""
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", -1.0)
