"""The command line as a whole: what stands before every command, and how each of them ends.

Exit codes: 0 success, 1 failure, 2 bad usage or configuration, 130 interrupted. An error that a user can cause is one
line on stderr, ``error: ...``; ``--debug``, anywhere on the line, shows its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from ecofed._version import __version__
from ecofed.cli.commands import Commands, example
from ecofed.cli.interrupt import Interrupted
from ecofed.cli.output import print_text
from ecofed.cli.slow_work import work_view
from ecofed.cli.streams import delivered, is_of_a_stream, lost, notices_said, say, take_any_text
from ecofed.errors import EcoFedError
from ecofed.errors.foreign_text import clean
from ecofed.machine import wait_briefly
from ecofed.slow_work import told_to

app = typer.Typer(
    name="ecofed",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=example("ecofed compare quickstart"),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_text(f"ecofed {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. May stand anywhere on the line.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="FILE.py|MODULE",
            help="Load methods and networks of yours first; repeatable. May stand anywhere on the line.",
        ),
    ] = None,
) -> None:
    """Federated training of image networks on devices too small to train them."""


def main() -> NoReturn:
    """Run this process's command line and exit with its code."""
    words, plugins = _without_plugins(sys.argv[1:])
    debug = "--debug" in words
    wait_briefly()
    take_any_text()
    try:
        if plugins:
            from ecofed.config.registry import load_plugin

            for plugin in plugins:
                load_plugin(plugin)
        with told_to(work_view()), notices_said():
            app(args=[word for word in words if word != "--debug"], prog_name="ecofed")
    except Interrupted as stop:
        say(f"\n{stop}")
        code = 130
    except (EcoFedError, OSError) as error:
        if debug:
            raise
        code = error.exit_code if isinstance(error, EcoFedError) else 1
        if isinstance(error, OSError) and is_of_a_stream(error):
            lost(error)
        else:
            say(f"error: {_line(error)}")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    else:
        code = 0
    sys.exit(code if delivered() else code or 1)


def _without_plugins(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command line without ``--plugin``, and what it names."""
    rest, plugins, left = [], [], iter(words)
    for word in left:
        if word == "--plugin" and (named := next(left, None)) is not None:
            plugins.append(named)
        elif word.startswith("--plugin="):
            plugins.append(word.partition("=")[2])
        else:
            rest.append(word)
    return rest, plugins


def _line(error: EcoFedError | OSError) -> str:
    """One line, whatever names and reasons are in it."""
    if isinstance(error, OSError) and error.filename is not None:
        return clean(f"{error.filename}: {error.strerror}")
    return clean(error)
