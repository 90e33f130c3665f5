"""What commands print on stdout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ecofed.files import json_text
from ecofed.foreign_text import clean, clean_lines

if TYPE_CHECKING:
    from ecofed.results import Comparison, RunResult

#: What a folder of results may hold, in the order in which a reader wants it.
FILES = ("report.html", "summary.json", "result.json", "model.safetensors")

#: Method, accuracy, bytes, ratio: shown however narrow the terminal is.
FEWEST_COLUMNS = 4


def print_text(text: object) -> None:
    """Lines on stdout. What a terminal would obey instead of showing it is shown: :mod:`ecofed.foreign_text`."""
    print(clean_lines(str(text)))


def print_json(values: object, *, indent: int | None = None) -> None:
    """JSON on stdout, in ASCII: what reads it need not ask for an encoding."""
    print(json_text(values, indent=indent))


def print_results(result: Comparison | RunResult, folder: Path) -> None:
    """The table of a run or comparison, then where its files are."""
    from ecofed.reports.tables import plain_text, rich_table
    from ecofed.reports.words import accuracy_sentence

    console = Console()
    if console.is_terminal:
        table = rich_table(result)
        # Columns stand in order of importance; folded ones would be unreadable, and report.html has them all.
        unfolded = console.options.update(max_width=10_000)
        while len(table.columns) > FEWEST_COLUMNS and console.measure(table, options=unfolded).maximum > console.width:
            table.columns.pop()
        console.print(table)
    else:
        print_text(plain_text(result))
    print_text(accuracy_sentence(result))
    for text in result.notes:
        print_text(f"note: {text}")
    for name in FILES:
        if (folder / name).is_file():
            print_text(folder / name)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A simple table with everything to the left; never folded when piped."""
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=10_000)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(Text(clean(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console.print(table)
