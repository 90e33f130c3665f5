"""``ecofed runs``: what ran, and what came of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecofed.cli.output import print_json, print_table, print_text
from ecofed.cli.shared import Json, add_command, named_path

if TYPE_CHECKING:
    from ecofed.reports.listing import Listed

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to look, with sub-folders.", parser=named_path)]
COLUMNS = ("run", "state", "method", "data", "rounds", "accuracy", "bytes", "last written")


def register(app: typer.Typer) -> None:
    add_command(app, "runs", runs, "ecofed runs", "ecofed runs experiments --json")


def runs(folder: Folder = Path("runs"), json: Json = False) -> None:
    """List the runs in a folder, the latest first: what ran, how far it came, accuracy and bytes.

    'running' has a process that works on it; 'stopped' continues with the same command and --resume.
    """
    from ecofed.reports.listing import list_runs

    found = list_runs(folder)
    if json:
        print_json([one.to_dict() for one in found], indent=1)
        return
    if not found:
        print_text(f"{folder}: no run here; ecofed compare quickstart makes some")
        return
    print_table(COLUMNS, [_row(one) for one in found])
    for one in found:
        if one.problem:
            print_text(f"damaged: {one.problem}")


def _row(one: Listed) -> tuple[str, ...]:
    from ecofed.reports.units import human_bytes

    when = datetime.fromisoformat(one.changed).astimezone().strftime("%Y-%m-%d %H:%M")
    if one.state == "damaged":
        return one.folder, one.state, "", "", "", "", "", when
    asked = "?" if one.rounds is None else str(one.rounds)
    accuracy = "-" if one.accuracy is None else f"{one.accuracy:.3f}"
    size = human_bytes(one.bytes)
    return one.folder, one.state, one.method, one.data, f"{one.rounds_done}/{asked}", accuracy, size, when
