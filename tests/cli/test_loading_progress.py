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

from ecofed.cli import loading
from ecofed.cli.loading import LoadingBar, LoadingLines
from ecofed.cli.progress import Bars
from ecofed.config.schema import Config
from ecofed.data import load_dataset
from ecofed.data.loading_progress import counted, told_to
from ecofed.errors import DataError


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

    def loading(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


def slow_pieces(count: int) -> Iterator[int]:
    yield from counted(range(count), count, "reading pictures")


def test_quick_loading_says_nothing() -> None:
    lines: list[str] = []
    with told_to(LoadingLines(lines.append, Clock(0.001))):
        assert list(slow_pieces(100)) == list(range(100))
    assert lines == []


def test_slow_loading_says_a_line_every_few_seconds_and_that_it_is_done() -> None:
    lines: list[str] = []
    with told_to(LoadingLines(lines.append, Clock(0.1))):  # two looks a piece: 0.2 s
        list(slow_pieces(2000))
    assert lines[0] == "reading pictures: 6 of 2,000"
    assert 70 < len(lines) < 90
    assert lines[-1].startswith("reading pictures: done after 4")
    assert lines[-2].endswith(" of 2,000")


def test_two_things_loaded_after_each_other_have_a_patience_each() -> None:
    lines: list[str] = []
    view = LoadingLines(lines.append, Clock(0.3))
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
    with told_to(LoadingBar(console, Clock(0.1))):
        list(slow_pieces(50))
    assert "reading pictures" in shown(console)
    assert "/50" in shown(console)
    quick = terminal()
    with told_to(LoadingBar(quick, Clock(0.001))):
        list(slow_pieces(50))
    assert shown(quick) == ""


@pytest.mark.parametrize("width", [100, 60])
def test_loading_for_a_run_is_a_bar_among_its_own(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PATIENCE_SECONDS", 0)
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
    monkeypatch.setattr(loading, "PATIENCE_SECONDS", 0)
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
