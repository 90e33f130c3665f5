"""Writes the pages of docs/reference/ that are taken from the code: ``make docs``.

A test compares the pages with what this script would write, so they cannot go stale.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer

from ecofed.cli.app import app
from ecofed.config.keys import Key, configuration_keys, section_docs
from ecofed.config.moved import moved_keys

REFERENCE = Path(__file__).parent / "reference"
NOTICE = "<!-- Made by docs/generate_reference.py from the code; change it there. -->"


def pages() -> dict[Path, str]:
    """File -> text of every generated page."""
    return {REFERENCE / "configuration.md": configuration_page(), REFERENCE / "command-line.md": command_line_page()}


def configuration_page() -> str:
    """Every key by section."""
    sections: dict[str, list[Key]] = {"": []}
    for key in configuration_keys():
        sections.setdefault(key.key.rpartition(".")[0], []).append(key)
    lines = [
        NOTICE,
        "",
        "# Configuration keys",
        "",
        "The same dotted names work in a TOML file, with `--set key=value`, and, with `__` for the dot, in",
        "`Config.replace`. `ecofed presets --keys` prints this list.",
        "",
        "In a comparison any key may be set for one method alone: `--set classic-fl.learning_rate=0.03`, or",
        "`learning_rate = 0.03` under `[classic-fl]`. The last assignment wins; one for a method stands above a",
        "general one; what `--set` says stands above all that the preset or file says: `--set normalisation=frozen`",
        "is for every method, also for those that the preset gives another one.",
    ]
    docs = section_docs()
    for section, keys in sections.items():
        lines += ["", f"## `[{section}]`" if section else "## General", ""]
        if section:
            lines += [docs[section], ""]
        lines += ["| key | default | values | meaning |", "|---|---|---|---|"]
        lines += [f"| `{key.key}` | `{key.default_text}` | {_cell(key.type)} | {_cell(key.doc)} |" for key in keys]
    lines += ["", "## Keys that have moved", ""]
    lines += ["Files, commands and recorded runs of the version before may have the old ones. They are understood,"]
    lines += ["with a note; one key under both names with two values is an error.", ""]
    lines += ["| was | is |", "|---|---|", *(f"| `{old}` | `{new}` |" for old, new in moved_keys().items())]
    return "\n".join(lines) + "\n"


def command_line_page() -> str:
    """Every command with its arguments, options and examples, then the exit codes."""
    lines = [NOTICE, "", "# Command line", "", "`ecofed COMMAND --help` shows the same on a terminal."]
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        for full_name, leaf in _leaves(f"ecofed {name}", command):
            lines += ["", f"## `{full_name}`", "", inspect.cleandoc(leaf.help)]
            lines += ["", "| | |", "|---|---|"]
            lines += [f"| `{_cell(_usage(parameter))}` | {_cell(parameter.help)} |" for parameter in leaf.params]
            examples = [line for line in leaf.epilog.split("\n\n") if line.startswith("ecofed ")]
            lines += ["", "<!-- not run: examples of the help -->", "```sh", *examples, "```"]
    lines += ["", EXIT_CODES.strip()]
    return "\n".join(lines) + "\n"


EXIT_CODES = """
## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | it failed: data that are missing or malformed, a device that vanished, a full disk, output that nobody took |
| 2 | bad usage or configuration, or an optional package that is not installed; nothing was started |
| 130 | stopped by Ctrl-C; the last line is the command that continues the run |

An error is one line on stderr that begins with `error:`. `--debug`, anywhere on the line, shows its traceback.
"""


def _leaves(name: str, command: Any) -> list[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        return [(name, command)]
    return [leaf for child, inner in children.items() for leaf in _leaves(f"{name} {child}", inner)]


def _usage(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.human_readable_name)
    value = "" if parameter.is_flag else parameter.metavar or parameter.name.upper()
    return f"{parameter.opts[0]} {value}".rstrip()


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        print(path)
