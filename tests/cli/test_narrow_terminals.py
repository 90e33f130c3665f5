"""Every table on narrow terminals: no line is too long, no word is broken, nothing is left out."""

from __future__ import annotations

import re

import pytest
from cli_fakes import Cli, FakeEngine
from rich.console import Console

from ecofed.cli.fitting import column_groups, column_widths
from ecofed.cli.output import print_paragraph, print_table

PLAN = ["plan", "quickstart", "--set", "data.name=digits", "--set", "model.name=lenet", "--set", "front.name=random"]
TABLES = [
    PLAN,
    [*PLAN, "--set", "clock.device=raspberry-pi-3,raspberry-pi-5"],
    ["front", "list"],
    ["data", "list"],
    ["presets"],
    ["profile", "--list"],
]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Standard output is a terminal without colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("words", TABLES, ids=" ".join)
def test_a_table_fits_and_breaks_no_word(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    piped = cli(*words).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for width in (80, 60):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = plain(cli(*words).out)
        commands = [
            line for line in shown.splitlines() if line.startswith("recommended: ")
        ]  # to be copied in one piece
        assert [line for line in shown.splitlines() if len(line) > width and line not in commands] == []
        assert set(piped.split()) == set(shown.split())


def test_the_table_of_results_fits_and_breaks_no_word(
    cli: Cli, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = cli("compare", "quickstart", "--set", "rounds=2", "--out", "a").out
    assert engine.calls
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    for width in (100, 80, 60, 44):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = plain(cli("report", "a").out)
        assert max(map(len, shown.splitlines())) <= width
        words = set(re.sub("[━┃┏┓┡┩│└┘─┬┴├┤┼╇┳]", " ", shown).split())
        assert words <= {*piped.split(), "a/report.html", "a/summary.json"}
        assert {"vanilla-dpfl", "every", "(raw)", "accuracy", "bytes"} <= words


def test_every_key_is_explained_in_whole_words(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = cli("presets", "--keys").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    shown = cli("presets", "--keys").out
    assert set(piped.split()) == set(shown.split())
    assert max(len(line) for line in shown.splitlines() if line.startswith("    ")) <= 60


def test_columns_that_do_not_fit_follow_with_the_keys_again(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("COLUMNS", "24")
    print_table(("cut", "method", "up", "down"), [("block1", "ecofed", "1.23 MB", "45 kB")], keys=2)
    lines = [line.rstrip() for line in plain(capsys.readouterr().out).splitlines()]
    assert lines == [
        "cut     method  up",
        "block1  ecofed  1.23 MB",
        "",
        "cut     method  down",
        "block1  ecofed  45 kB",
    ]


def test_a_word_longer_than_half_a_line_is_the_only_one_that_breaks() -> None:
    table = [["image", "class"], ["pictures/" + "x" * 100 + ".png", "ankle boot"]]
    assert column_groups(table, 40, 1) == [[0, 1]]
    assert column_widths(table, 40) == [28, 10]


def test_wide_characters_count_twice() -> None:
    assert column_widths([["名前", "a"], ["猫猫猫", "b"]], 80) == [6, 1]


def test_an_empty_table_is_its_heading(terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.setenv("COLUMNS", "80")
    print_table(("a", "b"), [])
    assert plain(capsys.readouterr().out).split() == ["a", "b"]


def test_a_pipe_gets_one_line_a_row_and_a_paragraph_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert not Console().is_terminal
    print_table(("name", "text"), [("x", "word " * 100)])
    print_paragraph("word " * 100)
    assert capsys.readouterr().out.count("\n") == 3
