"""``ecofed presets``: the shipped configurations, and every configuration key."""

from __future__ import annotations

from typing import Annotated

import typer

from ecofed.cli.output import print_json, print_paragraph, print_table, print_text
from ecofed.cli.shared import add_command
from ecofed.config.keys import configuration_keys
from ecofed.config.presets import preset_description, preset_names, preset_text
from ecofed.errors import ConfigError

Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Print this preset's TOML.")]
Keys = Annotated[bool, typer.Option("--keys", help="List every configuration key: type, default and meaning.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def register(app: typer.Typer) -> None:
    add_command(app, "presets", presets, "ecofed presets quickstart > my.toml", "ecofed presets --keys")


def presets(name: Name = None, keys: Keys = False, json: Json = False) -> None:
    """List the presets, print one as TOML to start your own file from, or list every configuration key."""
    if name is not None and keys:
        raise ConfigError("give a preset's name or --keys, not both")
    if name is not None:
        text = preset_text(name)
        if json:
            print_json({"name": name, "toml": text})
        else:
            print_text(text.rstrip())
    elif keys:
        _print_keys(json=json)
    elif json:
        print_json([{"name": name, "description": preset_description(name)} for name in preset_names()])
    else:
        print_table(("preset", "what it is for"), [(name, preset_description(name)) for name in preset_names()])


def _print_keys(*, json: bool) -> None:
    if json:
        rows = [{"key": k.key, "type": k.type, "default": k.default, "doc": k.doc} for k in configuration_keys()]
        print_json(rows)
        return
    for key in configuration_keys():
        print_text(f"{key.key} = {key.default_text}    ({key.type})")
        print_paragraph(key.doc.replace("`", "'"), indent=4)
