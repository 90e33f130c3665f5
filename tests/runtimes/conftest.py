from pathlib import Path

import pytest
from small import write_pictures

from ecofed.runs import experiment


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small pictures."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def often_saved_without_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that are saved after every round, and draw nothing."""
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(experiment, "write_report", lambda *_: None)
