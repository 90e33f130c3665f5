"""Tasks side by side, in processes that may be killed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ecofed.config import Settings
from ecofed.errors import ConfigError, EcoFedError, MissingExtraError, as_raised
from ecofed.relearning.crew import crew

pytestmark = [pytest.mark.ci, pytest.mark.skipif(os.name != "posix", reason="signals")]
_LOCKS: list[Any] = []


def test_results_come_and_errors_are_those_that_were_raised() -> None:
    with crew(2, math.sqrt) as work:
        assert sorted(work([4.0, 9.0, 16.0])) == [2.0, 3.0, 4.0]
        assert list(work([])) == []
    with crew(1, Settings.load) as load, pytest.raises(ConfigError, match="nonesuch"):
        list(load(["nonesuch"]))


def locked(task: int) -> int:
    """As libraries do that show progress."""
    _LOCKS.append(get_context("spawn").Lock())
    return task


def test_they_clear_up_at_the_end(tmp_path: Path) -> None:
    script = (
        "from test_crew import crew, locked\nif __name__ == '__main__':\n"
        "    with crew(1, locked) as work:\n        print(list(work([1])))\n"
    )
    (tmp_path / "script.py").write_text(script)
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[1]\n", "")


def test_a_process_that_is_killed_is_missed() -> None:
    """As the system does where memory runs out; a pool of multiprocessing's waits for ever."""
    with (
        crew(1, signal.raise_signal) as work,
        pytest.raises(EcoFedError, match=r"ended without a word \(-9\).*--resume continues, and --workers 1 takes"),
    ):
        list(work([signal.SIGKILL]))


def test_ctrl_c_never_reaches_them(capfd: pytest.CaptureFixture[str]) -> None:
    with crew(1, signal.raise_signal) as work:
        assert list(work([signal.SIGINT])) == [None]  # which never reached it
    assert "Traceback" not in capfd.readouterr().err


def test_an_error_of_any_class_is_made_again() -> None:
    assert type(as_raised("MissingExtraError", "x")) is MissingExtraError
    assert str(as_raised("MissingExtraError", "x")) == "x"
    for other in ("nearest", "Iterable", "KeyError"):
        assert type(as_raised(other, "x")) is EcoFedError
