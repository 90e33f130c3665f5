"""What commands print on stdout."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from ecofed.cli.fitting import GAP, column_groups, column_widths
from ecofed.errors.foreign_text import clean, clean_lines
from ecofed.files.disk import json_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from ecofed.results import Comparison, RunResult

#: What a folder of results may hold, in the order in which a reader wants it.
FILES = ("report.html", "summary.json", "result.json", "model.safetensors")

#: Method, accuracy, bytes, ratio: shown wherever their words have room.
FEWEST_COLUMNS = 4


def print_text(text: object) -> None:
    """Lines on stdout. What a terminal would obey instead of showing it is shown: :mod:`ecofed.errors.foreign_text`."""
    print(clean_lines(str(text)))


def print_json(values: object, *, indent: int | None = None) -> None:
    """JSON on stdout, in ASCII: what reads it need not ask for an encoding."""
    print(json_text(values, indent=indent))


def print_results(result: Comparison | RunResult, folder: Path) -> None:
    """The table of a run or comparison, then where its files are."""
    from ecofed.reports.tables import plain_text, rich_table
    from ecofed.reports.words import accuracy_sentence, doubts

    console = Console()
    if console.is_terminal:
        console.print(_narrowed(rich_table(result), console))
    else:
        print_text(plain_text(result))
    print_paragraph(accuracy_sentence(result))
    doubtful = [f"{text[0].lower()}{text[1:].rstrip('.')}" for text in doubts(result)]
    for text in [*doubtful, *result.notes, *_untrained(result)]:
        print_paragraph(f"note: {text}", hanging=2)
    for name in FILES:
        if (folder / name).is_file():
            print_text(folder / name)


def _untrained(result: Comparison | RunResult) -> list[str]:
    """What the notes of a comparison's runs say of rounds without training; of one run it stands in its own."""
    from ecofed.reports.words import untrained_sentences
    from ecofed.results import RunResult

    return [] if isinstance(result, RunResult) else untrained_sentences(result)


def _narrowed(table: RichTable, console: Console) -> RichTable:
    """Without the columns for which there is no room: they stand in order of importance, and report.html has all."""
    unfolded = console.options.update(max_width=10_000)

    def fits() -> bool:
        return console.measure(table, options=unfolded).maximum <= console.width

    while len(table.columns) > FEWEST_COLUMNS and not fits():
        table.columns.pop()
    while not fits():  # then words go below each other, and still more columns where not even words have room
        cells = [[str(column.header), *map(str, column.cells)] for column in table.columns]
        room = console.width - (3 * len(cells) + 1) + GAP * (len(cells) - 1)
        widths = column_widths([*zip(*cells, strict=True)], room)
        if sum(widths) + GAP * (len(widths) - 1) <= room or len(widths) <= 2:
            for column, width in zip(table.columns, widths, strict=True):
                column.width = width
            break
        table.columns.pop()
    return table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, keys: int = 1) -> None:
    """A simple table with everything to the left; never folded when piped.

    On a terminal too narrow for all columns they follow in groups, each with the first ``keys`` columns again.
    """
    from rich.table import Table
    from rich.text import Text

    table = [[clean(cell) for cell in row] for row in (columns, *rows)]
    console = Console()
    width = console.width if console.is_terminal else 10_000
    console = Console(width=width)
    for number, group in enumerate(column_groups(table, width, keys)):
        part = [[row[index] for index in group] for row in table]
        shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
        for heading, room in zip(part[0], column_widths(part, width), strict=True):
            shown.add_column(Text(heading), overflow="fold", width=room)
        for row in part[1:]:
            shown.add_row(*(Text(cell) for cell in row))
        if number:
            console.print()
        console.print(shown)


def print_paragraph(text: str, *, indent: int = 0, hanging: int | None = None) -> None:
    """Prose on stdout: wrapped between words on a terminal, one line elsewhere.

    Args:
        text: what to say.
        indent: spaces before it.
        hanging: spaces before its other lines; default: ``indent``.
    """
    console = Console()
    if not console.is_terminal:
        print_text(" " * indent + text)
        return
    rest = " " * (indent if hanging is None else hanging)
    print_text(
        textwrap.fill(
            clean(text),
            console.width,
            initial_indent=" " * indent,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )
