"""``ecofed report``: the table, plots and HTML page of results that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ecofed.cli.output import print_json, print_results
from ecofed.cli.shared import Json, add_command

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that 'ecofed run' or 'ecofed compare' wrote.")]


def register(app: typer.Typer) -> None:
    add_command(app, "report", report, "ecofed report runs/quickstart")


def report(folder: Folder, json: Json = False) -> None:
    """Write report.html and the plots of a run or comparison anew, and print its table."""
    from ecofed.reports import load, write_report

    result = load(folder)
    write_report(result, folder)
    if json:
        print_json(result.to_dict(), indent=1)
    else:
        print_results(result, folder)
