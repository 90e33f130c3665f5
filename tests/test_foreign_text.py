"""Text from elsewhere never reaches a terminal, a page or a table as more than text."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.cli.output import print_json, print_table, print_text
from ecofed.cli.progress import Lines
from ecofed.cli.streams import say
from ecofed.errors import DataError, DeviceError, EcoFedError
from ecofed.errors.foreign_text import clean, clean_lines, cleaned, json_escaped
from ecofed.results import DataSummary, Floors, RoundRecord

CLI = Path(__file__).parents[1] / "src" / "ecofed" / "cli"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 猫 🐈", "plain ünïcode 猫 🐈"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),  # the one-byte form of the same
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("cat\u200b", r"cat\u200b"),
        ("\u2066a\u2069", r"\u2066a\u2069"),
        ("two\r\nlines\tand\u2028more", "two  lines and more"),
        ("\ufeffname", r"\ufeffname"),
        ("\U000e0041", r"\U000e0041"),  # an invisible letter of the tags' plane
        ("\udcff", r"\udcff"),  # a byte of a file name that is no UTF-8
        ("fill\u3164er", r"fill\u3164er"),
        ("Z" + "\u0301" * 50, "Z" + "\u0301" * 4),
        ("[red]x[/red] [link=http://a]b[/link]", "[red]x[/red] [link=http://a]b[/link]"),
    ],
)
def test_only_printable_characters_are_shown(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_what_is_too_long_loses_its_middle() -> None:
    shown = clean("a" * 5_000_000 + "; delete it", longest=100)
    assert len(shown) == 100
    assert shown.startswith("aaa")
    assert shown.endswith("; delete it")


@given(st.text(max_size=60))
def test_cleaning_is_final_and_json_keeps_its_values(text: str) -> None:
    once = clean(text, longest=40)
    assert once.isprintable()
    assert len(once) <= 40
    assert clean(once, longest=40) == once
    written = json_escaped(json.dumps({"key": text}, ensure_ascii=False, indent=1))
    assert json.loads(written) == {"key": text}
    assert all(line.isprintable() for line in written.split("\n"))


def test_lines_and_nested_values() -> None:
    assert clean_lines("a\nb\x1bc\n") == "a\nb\\x1bc\n"
    assert cleaned({"a\x07": ["\x1b", 1, None, ("\u202e",)]}) == {r"a\x07": [r"\x1b", 1, None, [r"\u202e"]]}


@pytest.mark.parametrize("kind", [EcoFedError, DataError, DeviceError])
def test_an_error_is_one_clean_line(kind: type[EcoFedError]) -> None:
    error = kind("device 3: \x1b[31mfire\x1b[0m\nerror: all is lost")
    assert str(error) == r"device 3: \x1b[31mfire\x1b[0m error: all is lost"


def test_records_hold_what_can_be_shown() -> None:
    record = RoundRecord(round=1, devices=[0], uplink_bytes=0, downlink_bytes=0, notes=["device 1: \x1b[2J"])
    assert record.notes == [r"device 1: \x1b[2J"]
    data = DataSummary(
        name="\u202eset",
        source="path",
        train_samples=1,
        test_samples=1,
        classes=["cat\x1b[8m", "d" * 100_000],
        label_counts=[[1, 0]],
        floors=Floors(raw_bytes=1, compressed_bytes=None, compressed_as="\x07"),
    )
    assert data.name == r"\u202eset"
    assert data.classes[0] == r"cat\x1b[8m"
    assert len(data.classes[1]) == 200
    assert data.floors.compressed_as == r"\x07"


def test_commands_print_clean_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_text("note: \x1b[31mred")
    print_json({"class": "\x9b31m"})
    say("error: \x1b[31mred")
    print_table(("cl\x1bass",), [("[bold]\x1b[5mblink\n",)])
    Lines().note("device 2: \u202eevil")
    out, err = capsys.readouterr()
    assert [line.rstrip() for line in out.splitlines()] == [
        r"note: \x1b[31mred",
        r'{"class": "\u009b31m"}',
        r"cl\x1bass",
        r"[bold]\x1b[5mblink",
    ]
    assert err.splitlines() == [r"error: \x1b[31mred", r"device 2: \u202eevil"]


def test_nothing_else_in_the_command_line_prints() -> None:
    calls = re.compile(r"(?<![\w.])print\(|sys\.std(out|err)\.write|typer\.(echo|secho)\(")
    found = [file.name for file in CLI.glob("*.py") if calls.search(file.read_text(encoding="utf-8"))]
    assert sorted(found) == ["output.py", "streams.py"]


def test_a_bar_prints_notes_as_text() -> None:
    from rich.console import Console

    from ecofed.cli.progress import Bars

    stream = io.StringIO()
    with Bars(Console(file=stream, force_terminal=False, width=200)) as bars:
        bars.note("device 2: [link=http://evil]\x1b]8;;http://evil\x07x")
    assert r"device 2: [link=http://evil]\x1b]8;;http://evil\x07x" in stream.getvalue()
