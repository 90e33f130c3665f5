"""Slow loading is shown: lines where it is piped, a bar on a terminal, nothing where it is quick."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_fakes import Cli
from PIL import Image
from rich.console import Console

from ecofed.cli import slow_work
from ecofed.cli.progress import Bars, Lines
from ecofed.cli.slow_work import WorkBar, WorkLines
from ecofed.config.schema import Config
from ecofed.data import load_dataset
from ecofed.errors import DataError
from ecofed.slow_work import counted, told_to


class Clock:
    """Goes on by a step with every look."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Heard:
    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def working(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


def slow_pieces(count: int) -> Iterator[int]:
    yield from counted(range(count), count, "reading pictures")


def test_quick_loading_says_nothing() -> None:
    lines: list[str] = []
    with told_to(WorkLines(lines.append, Clock(0.001))):
        assert list(slow_pieces(100)) == list(range(100))
    assert lines == []


def test_slow_loading_says_a_line_every_few_seconds_and_that_it_is_done() -> None:
    lines: list[str] = []
    with told_to(WorkLines(lines.append, Clock(0.1))):  # two looks a piece: 0.2 s
        list(slow_pieces(2000))
    assert lines[0] == "reading pictures: 6 of 2,000"
    assert 70 < len(lines) < 90
    assert lines[-1].startswith("reading pictures: done after 4")
    assert lines[-2].endswith(" of 2,000")


def test_two_things_loaded_after_each_other_have_a_patience_each() -> None:
    lines: list[str] = []
    view = WorkLines(lines.append, Clock(0.3))
    for what in ("reading train pictures", "reading test pictures"):
        with told_to(view):
            list(counted(range(2), 2, what))
    assert lines == []


def test_an_error_ends_the_loading() -> None:
    heard = Heard()

    def broken() -> Iterator[int]:
        yield 1
        raise DataError("no")

    with told_to(heard), pytest.raises(DataError, match="no"):
        list(counted(broken(), 5, "x"))
    assert heard.told == [("x", 0, 5), ("x", 1, 5), ("x", 5, 5)] or heard.told == [("x", 0, 5), ("x", 5, 5)]
    assert list(slow_pieces(3)) == [0, 1, 2]  # and nobody listens any more
    assert heard.told[-1] == ("x", 5, 5)


def terminal(width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_has_a_bar_that_goes_at_the_end() -> None:
    console = terminal()
    with told_to(WorkBar(console, Clock(0.1))):
        list(slow_pieces(50))
    assert "reading pictures" in shown(console)
    assert "/50" in shown(console)
    quick = terminal()
    with told_to(WorkBar(quick, Clock(0.001))):
        list(slow_pieces(50))
    assert shown(quick) == ""


@pytest.mark.parametrize("width", [100, 60])
def test_loading_for_a_run_is_a_bar_among_its_own(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_work, "PATIENCE_SECONDS", 0)
    console = terminal(width)
    with Bars(console) as bars:
        pieces = slow_pieces(50)
        next(pieces)
        bars._progress.refresh()
        assert "reading pictures" in shown(console)
        list(pieces)
        bars.started(Config(), [])
    last = next(line for line in reversed(shown(console).splitlines()) if "accuracy -" in line)
    assert "reading" not in shown(console)[shown(console).rindex(last) :]
    assert len(last.removeprefix("\x1b[2K").rstrip()) <= width
    list(slow_pieces(3))  # the bars no longer listen


@pytest.mark.parametrize("kind", ["folders", "parquet"])
def test_every_format_of_pictures_counts_them(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "set"
    picture = Image.fromarray(np.zeros((32, 32), np.uint8))
    content = io.BytesIO()
    picture.save(content, "PNG")
    for part, count in (("train", 6), ("test", 4)):
        if kind == "parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            place.mkdir(exist_ok=True)
            rows = {"image": [{"bytes": content.getvalue()}] * count, "label": [0, 1] * (count // 2)}
            pq.write_table(pa.table(rows), place / f"{part}.parquet")
        else:
            for number in range(count):
                folder = place / part / "ab"[number % 2]
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(folder / f"{number}.png")
    heard = Heard()
    with told_to(heard):
        load_dataset(str(place))
    told = {what: (done, total) for what, done, total in heard.told}
    assert told == {"reading train pictures": (6, 6), "reading test pictures": (4, 4)}
    with told_to(again := Heard()):
        load_dataset(str(place))  # from the cache of decoded pictures
    assert again.told == []


def test_the_command_line_listens(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(slow_work, "PATIENCE_SECONDS", 0)
    for part in ("train", "test"):
        for label in "ab":
            folder = tmp_path / "pictures" / part / label
            folder.mkdir(parents=True)
            for number in range(3):
                Image.fromarray(np.full((32, 32), number, np.uint8)).save(folder / f"{number}.png")
    keys = ("data.name=pictures", "model.name=lenet", "devices=2", "sampled_devices=1", "rounds=1")
    ended = cli("plan", *(word for key in keys for word in ("--set", key)))
    assert ended.code == 0, ended.err
    assert "reading train pictures: 0 of 6\n" in ended.err
    assert "reading train pictures: done after 0 s\n" in ended.err


def test_the_work_of_a_run_has_one_bar_that_stays_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_work, "PATIENCE_SECONDS", 0)
    with Bars(terminal()) as bars:
        bars.started(Config(), [])
        for what in ("devices", "training"):
            list(counted(range(3), 3, what))
        assert [task.description.strip() for task in bars._progress.tasks] == ["ecofed", "training"]
        assert bars._progress.tasks[1].completed == 3
        bars.started(Config(), [])  # of a comparison, the next
        assert [task.description.strip() for task in bars._progress.tasks] == ["ecofed", "ecofed"]


def test_lines_tell_of_the_first_round_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then every round has its own, which says more."""
    from ecofed.runs.experiment import run

    monkeypatch.setattr(slow_work, "PATIENCE_SECONDS", 0)
    config = Config().replace(
        rounds=2, devices=4, sampled_devices=4, test_samples=20, initialisation="random", normalisation="group"
    )
    config = config.replace(data__name="digits", model__name="lenet", model__width=0.1, ecofed__server_steps=3)
    with Lines(seconds_between=0) as lines:
        run(config, report=False, observer=lines)
    said = capsys.readouterr().err.splitlines()
    start, first = said.index("ecofed: 2 rounds"), next(at for at, line in enumerate(said) if "round 1/2" in line)
    told = [line.partition(":")[0] for line in said[start + 1 : first] if " of " in line]
    assert list(dict.fromkeys(told)) == ["testing", "devices", "training"]
    assert not [line for line in said[first:] if " of " in line]
