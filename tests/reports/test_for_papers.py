"""Tables for papers and spreadsheets."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ecofed.cli import main
from ecofed.reports.files import write_summary
from ecofed.reports.for_papers import FORMATS, csv_table, latex
from ecofed.results import Comparison


def test_latex_has_a_row_a_method_and_says_what_is_not_known(five_methods: Comparison) -> None:
    lines = latex(five_methods).splitlines()
    assert (lines[0], lines[1], lines[-2], lines[-1]) == (
        *(r"\begin{tabular}{lrrrrrrrrr}", r"\toprule", r"\bottomrule", r"\end{tabular}"),
    )
    assert [lines.index(r"\midrule"), lines.count(r"\midrule")] == [3, 2]
    assert {line.count(" & ") for line in lines if "&" in line} == {9}
    assert all(line.endswith(r" \\") for line in lines if "&" in line)
    methods = [line.split(" & ")[0] for line in lines[4 : 4 + len(five_methods.results)]]
    assert methods == [result.method for result in five_methods.results]
    assert " & -- & " in lines[-3]


def test_what_tex_would_take_for_commands_is_text(five_methods: Comparison) -> None:
    odd = dataclasses.replace(five_methods.results[0], method=r"50%_of\input{x}$&#~^")
    assert r"50\%\_of\textbackslash{}input\{x\}\$\&\#\textasciitilde{}\textasciicircum{}" in latex(
        Comparison(results=[odd])
    )


def test_csv_has_the_numbers_as_they_are(five_methods: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table(five_methods))))
    assert [row["method"] for row in rows] == [result.method for result in five_methods.results]
    for row, result in zip(rows, five_methods.results, strict=True):
        assert int(float(row["total_bytes"])) == result.total_bytes
        assert float(row["final_test_accuracy"]) == pytest.approx(result.totals.final_test_accuracy)
        assert row["seeds"] == str(result.seed)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``ecofed report WORDS``: exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ecofed", "report", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    return run


def test_the_command_prints_nothing_else(
    five_methods: Comparison, tmp_path: Path, report: Callable[..., tuple[int, str, str]]
) -> None:
    write_summary(five_methods, tmp_path)
    for kind, made in FORMATS.items():
        assert report(tmp_path, "--table", kind) == (0, made(five_methods) + "\n", "")
    wanted = "error: --table latx: must be one of markdown, latex, csv (did you mean 'latex'?)\n"
    assert report(tmp_path, "--table", "latx") == (2, "", wanted)
    wanted = "error: --table and --json both say what is printed: choose one\n"
    assert report(tmp_path, "--table", "latex", "--json") == (2, "", wanted)
