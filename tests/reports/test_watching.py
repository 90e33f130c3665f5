"""``ecofed report --watch``: a page that follows runs, and ends with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ecofed.cli import main, watching
from ecofed.cli.interrupt import Interrupted
from ecofed.cli.watching import watch
from ecofed.errors import EcoFedError
from ecofed.files.disk import json_text
from ecofed.files.ownership import owned
from ecofed.reports import joining
from ecofed.reports.files import write_result
from ecofed.reports.unfinished import write_unfinished
from ecofed.results import Comparison, RunResult

Make = Callable[..., RunResult]
RENEWS = "<meta http-equiv='refresh' content='5'>"


def load(folders: object) -> Comparison | RunResult:
    assert isinstance(folders, list)
    return joining.load(folders[0])


def rounds(result: RunResult, folder: Path, count: int) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    write_unfinished(result, folder)
    (folder / "metrics.jsonl").write_text("".join(json_text(one.to_dict()) + "\n" for one in result.rounds[:count]))


@pytest.fixture
def going(tmp_path: Path) -> Iterator[tuple[Path, ExitStack]]:
    """A folder that is being worked in, until the stack is closed."""
    with ExitStack() as stack:
        stack.enter_context(owned(tmp_path / "run"))
        yield tmp_path / "run", stack


def test_the_page_follows_a_run_to_its_end(
    make: Make, going: tuple[Path, ExitStack], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, work = going
    result = make(rounds=20)
    pages: list[str] = []

    def pause(seconds: float) -> None:
        assert seconds >= watching.SECONDS
        page = folder / "report.html"
        pages.append(page.read_text(encoding="utf-8") if page.exists() else "")
        if len(pages) == 1:
            rounds(result, folder, 3)
        elif len(pages) == 2:
            rounds(result, folder, 9)
        elif len(pages) == 4:
            write_result(result, folder)
            work.close()

    rounds(result, folder, 0)
    watch([folder], folder, load, pause)
    last = (folder / "report.html").read_text(encoding="utf-8")
    assert [RENEWS in page for page in (*pages, last)] == [False, True, True, True, False]
    assert [page.count("these are 9 of 20 rounds") > 0 for page in (*pages, last)] == [False, False, True, True, False]
    assert pages[2] == pages[3]
    told = capsys.readouterr().err
    assert told.count("waiting for the first round") == 1
    assert told.count(f"{folder / 'report.html'}: ") == 3


def test_ctrl_c_ends_the_watch_and_leaves_a_page_that_rests(make: Make, going: tuple[Path, ExitStack]) -> None:
    folder, _ = going
    rounds(make(rounds=20), folder, 5)

    def interrupt(_: float) -> None:
        assert RENEWS in (folder / "report.html").read_text(encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"stopped watching; the runs go on, and .*report\.html shows them"):
        watch([folder], folder, load, interrupt)
    assert RENEWS not in (folder / "report.html").read_text(encoding="utf-8")


def test_ctrl_c_before_the_first_tested_round_leaves_no_page(make: Make, going: tuple[Path, ExitStack]) -> None:
    folder, _ = going
    rounds(make(rounds=20), folder, 0)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="no page was written"):
        watch([folder], folder, load, interrupt)
    assert not (folder / "report.html").exists()


def test_ctrl_c_has_the_exit_code_that_is_documented(
    make: Make, going: tuple[Path, ExitStack], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = going
    rounds(make(rounds=20), folder, 5)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "__defaults__", (interrupt,))
    monkeypatch.setattr(sys, "argv", ["ecofed", "report", "--watch", str(folder)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130


def test_a_comparison_is_shown_while_later_methods_wait(make: Make, tmp_path: Path) -> None:
    with owned(tmp_path / "both"):
        rounds(make("classic-fl"), tmp_path / "both" / "classic-fl", 4)
        rounds(make("ecofed"), tmp_path / "both" / "ecofed", 0)
        found = joining.load(tmp_path / "both")
    assert isinstance(found, Comparison)
    assert [result.method for result in found.results] == ["classic-fl"]
    assert found.notes[0] == "no round of ecofed has been tested yet"


def test_what_does_not_go_on_is_not_waited_for(make: Make, tmp_path: Path) -> None:
    def never(_: float) -> None:
        raise AssertionError

    with pytest.raises(EcoFedError, match="no run goes on here, and none has ended"):
        watch([tmp_path / "nothing"], tmp_path, load, never)
    write_result(make(rounds=3), tmp_path / "done")
    watch([tmp_path / "done"], tmp_path / "done", load, never)
    assert RENEWS not in (tmp_path / "done" / "report.html").read_text(encoding="utf-8")


def test_a_damaged_file_is_told_and_looked_at_again(
    make: Make, going: tuple[Path, ExitStack], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, work = going
    result = make(rounds=20)
    looks = []

    def torn(folders: object) -> Comparison | RunResult:
        looks.append(folders)
        if len(looks) < 3:
            raise EcoFedError("result.json: torn")
        return load(folders)

    def pause(_: float) -> None:
        if len(looks) == 3:
            write_result(result, folder)
            work.close()

    rounds(result, folder, 5)
    watch([folder], folder, torn, pause)
    assert len(looks) == 4
    assert capsys.readouterr().err.count("torn") == 1
