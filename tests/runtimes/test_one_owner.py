"""Two processes, one folder: one of them has it, the other is told who."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small import BASE, outcome, small_config

from ecofed.cli import main
from ecofed.config import Config, Settings
from ecofed.errors import InUseError, StorageError
from ecofed.files.ownership import OWNER_FILE, owned, owned_file, refuse_if_owned
from ecofed.results import RoundRecord, RunResult
from ecofed.runs import experiment
from ecofed.runs.experiment import compare, run
from ecofed.runs.frontier import frontier
from ecofed.runs.observing import SilentObserver

#: Takes a folder or a file, says so, keeps it until its input ends.
HOLDER = """
import sys
from pathlib import Path
from ecofed.files import ownership
sys.stdin.readline()
try:
    with getattr(ownership, sys.argv[1])(Path(sys.argv[2])):
        print("mine", flush=True)
        sys.stdin.read()
except ownership.InUseError as error:
    print(error, flush=True)
"""


def start(place: Path, what: str = "owned") -> subprocess.Popen[str]:
    """A process that waits for a line before it tries."""
    command = [sys.executable, "-c", HOLDER, what, str(place)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@contextmanager
def held(place: Path, what: str = "owned") -> Iterator[int]:
    """Another process has it; its id."""
    process = start(place, what)
    try:
        go(process)
        assert answer(process) == "mine"
        yield process.pid
    finally:
        end(process)


def settings_of(pictures: Path, **changes: object) -> Settings:
    return Settings.load(None, [f"{key}={value}" for key, value in (BASE | {"data.name": pictures} | changes).items()])


def refusal(place: Path, pid: int) -> str:
    return f"{place} is in use by process {pid}; wait until it has ended, or choose another with --out"


def test_of_several_that_start_at_once_one_has_the_folder(tmp_path: Path) -> None:
    processes = [start(tmp_path / "new" / "run") for _ in range(4)]
    try:
        for process in processes:
            go(process)
        answers = {process.pid: answer(process) for process in processes}
        winners = [pid for pid, said in answers.items() if said == "mine"]
        assert len(winners) == 1
        others = [said for said in answers.values() if said != "mine"]
        assert others == [refusal(tmp_path / "new" / "run", winners[0])] * 3
    finally:
        for process in processes:
            end(process)


def test_threads_of_one_process_are_no_exception(tmp_path: Path) -> None:
    caught: list[InUseError] = []

    def second() -> None:
        try:
            with owned(tmp_path):
                pass
        except InUseError as error:
            caught.append(error)

    with owned(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert [str(error) for error in caught] == [refusal(tmp_path, os.getpid())]


def test_what_a_killed_owner_leaves_stops_nobody(tmp_path: Path) -> None:
    process = start(tmp_path)
    go(process)
    assert answer(process) == "mine"
    with pytest.raises(InUseError, match=f"in use by process {process.pid};"):
        refuse_if_owned(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / OWNER_FILE).exists()
    refuse_if_owned(tmp_path)
    with owned(tmp_path):
        assert (tmp_path / OWNER_FILE).read_text(encoding="utf-8").split()[0] == str(os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_made_and_stayed_empty_is_removed(tmp_path: Path) -> None:
    with owned(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious", encoding="utf-8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / OWNER_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"\.owner: cannot be written"), owned(tmp_path / "run"):
        pass
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "precious"


@pytest.fixture
def _plain_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take seconds, and are not what is asked here."""

    def write(_: object, folder: Path) -> None:
        (folder / "report.html").write_text("", encoding="utf-8")

    monkeypatch.setattr(experiment, "write_report", write)


def start_command(command: str, settings: Settings, out: Path, *, resume: bool) -> None:
    if command == "run":
        run(settings.for_method("classic-fl"), out=out, resume=resume)
    else:  # "ecofed" would come first, and must not be trained before the other is seen
        compare(settings, ["ecofed", "classic-fl"], out=out, resume=resume)


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize(("command", "place"), [("run", ""), ("compare", ""), ("compare", "classic-fl")])
def test_run_and_compare_refuse_a_folder_that_another_process_has(
    command: str, place: str, resume: bool, pictures: Path, tmp_path: Path
) -> None:
    settings = settings_of(pictures, rounds=1)
    with held(tmp_path / "out" / place) as pid:
        with pytest.raises(InUseError) as caught:
            start_command(command, settings, tmp_path / "out", resume=resume or bool(place))
        assert str(caught.value) == refusal(tmp_path / "out" / place, pid)
        assert not list(tmp_path.rglob("*.json*"))


def test_a_point_of_a_sweep_and_a_front_are_refused_too(pictures: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"bits": [8], "views": [1], "fronts": ["random"]}
    with held(tmp_path) as pid, pytest.raises(InUseError, match=f"by process {pid};"):
        frontier(settings_of(pictures, rounds=1), out=tmp_path, **options)
    front = tmp_path / "front.safetensors"
    with held(front, "owned_file") as pid, pytest.raises(InUseError) as caught, owned_file(front):
        pass
    assert str(caught.value) == refusal(front, pid)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "quickstart"],
        ["compare", "quickstart", "--resume"],
        ["frontier", "quickstart", "--bits", "2"],
        ["pretrain", "--images", "fractals"],
    ],
)
def test_the_command_line_says_so_in_one_line(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "front.safetensors"
    is_file = words[0] == "pretrain"
    monkeypatch.setattr(sys, "argv", ["ecofed", *words, "--out", str(out)])
    with held(out, "owned_file" if is_file else "owned") as pid, pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {refusal(out, pid)}"


class TryTheSame(SilentObserver):
    """While a comparison trains, somebody else starts a run in its folder, and in that of a method to come."""

    def __init__(self, config: Config, *places: Path) -> None:
        self._config, self._places = config, places
        self.refused: list[str] = []

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        for place in self._places:
            with pytest.raises(InUseError) as caught:
                run(self._config, out=place, resume=True)
            self.refused.append(str(caught.value))


@pytest.mark.usefixtures("_plain_reports")
def test_a_comparison_has_the_folders_of_all_its_methods_from_the_start(pictures: Path, tmp_path: Path) -> None:
    later = tmp_path / "classic-fl"
    observer = TryTheSame(small_config(pictures, "classic-fl"), tmp_path, later)
    compare(settings_of(pictures, rounds=1), ["ecofed", "classic-fl"], out=tmp_path, observer=observer)
    assert observer.refused == 2 * [refusal(tmp_path, os.getpid()), refusal(later, os.getpid())]
    assert not list(tmp_path.rglob(OWNER_FILE))


class Showing(SilentObserver):
    def __init__(self) -> None:
        self.shown: list[RunResult] = []

    def finished(self, result: RunResult) -> None:
        self.shown.append(result)


@pytest.mark.usefixtures("_plain_reports")
def test_what_is_finished_is_shown_whoever_has_the_folder(pictures: Path, tmp_path: Path) -> None:
    settings, observer = settings_of(pictures, rounds=1), Showing()
    first = compare(settings, ["classic-fl"], out=tmp_path / "both")
    single = run(settings.for_method("classic-fl"), out=tmp_path / "one")
    with held(tmp_path / "both"), held(tmp_path / "one"):
        again = compare(settings, ["classic-fl"], out=tmp_path / "both", resume=True, observer=observer)
        alone = run(settings.for_method("classic-fl"), out=tmp_path / "one", resume=True, observer=observer)
    assert again.results == first.results
    assert outcome(alone) == outcome(single)
    assert observer.shown == [*first.results, single]
