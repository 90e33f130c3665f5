"""``ecofed data``: which data sets there are, where each would come from, and fetching one."""

from __future__ import annotations

from typing import Annotated

import typer

from ecofed.cli.commands import COMMANDS, Group, example
from ecofed.cli.output import print_json, print_table, print_text
from ecofed.cli.shared import add_command

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that 'ecofed data list' shows, or hf:OWNER/NAME.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")
    add_command(group, "list", list_, "ecofed data list")
    add_command(group, "fetch", fetch, "ecofed data fetch fashion-mnist", "ecofed data fetch hf:OWNER/NAME")
    app.add_typer(group, name="data", help=COMMANDS["data"], epilog=example("ecofed data fetch fashion-mnist"))


def list_(json: Json = False) -> None:
    """List the data sets that are known by name, and whether each is on this machine."""
    from ecofed.data import list_datasets

    rows = list_datasets()
    if json:
        print_json([{"name": name, "title": title, "found": place} for name, title, place in rows])
    else:
        print_table(("name", "data set", "found in"), [(name, title, place or "-") for name, title, place in rows])


def fetch(name: Name) -> None:
    """Get a data set into the user's cache, where every later run finds it."""
    from ecofed.data import fetch as fetch_data

    fetch_data(name, say=print_text)
