"""What several commands share: their common options, where results go, and how help ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ecofed.config import Settings
from ecofed.errors import ConfigError, MissingExtraError

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="PRESET|FILE.toml",
        help="A preset ('ecofed presets' lists them) or a TOML file; default: plain defaults.",
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one key; repeatable. 'ecofed presets --keys' lists every key."
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results.", file_okay=False)]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that is in the folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr.")]


def example(*lines: str) -> str:
    """The end of a command's help."""
    return "\n\n".join([f"[bold]Example{'s' if len(lines) > 1 else ''}[/bold]", *lines])


def add_command(app: typer.Typer, name: str, function: Callable[..., None], *examples: str) -> None:
    """Register a function as a command: its docstring is the help, which ends in the examples."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(name, help=text, epilog=example(*examples))(function)


def output_folder(
    out: Path | None, settings: Settings, suffix: str, *, resume: bool, foreign: Sequence[str] = ()
) -> Path:
    """Where a command writes: ``out``, or ``runs/<preset or file name><suffix>``.

    ``foreign`` are files that another command leaves there: that is nothing to resume.

    Raises:
        ConfigError: the folder holds something and the user did not say ``--resume``, or something of another command.
    """
    folder = out or Path("runs") / f"{Path(settings.source).stem}{suffix}"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; choose a folder with --out")
    if not resume and folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder} is not empty; add --resume to continue it, or choose another: --out {_free(folder)}"
        )
    strange = next((name for name in foreign if (folder / name).exists()), None)
    if resume and strange is not None:
        raise ConfigError(f"{folder} holds {strange} of another command; choose another folder: --out {_free(folder)}")
    return folder


def _free(folder: Path) -> Path:
    number = 2
    while (other := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return other


def need_torch(purpose: str) -> None:
    """Raise :class:`MissingExtraError` where PyTorch is not installed, without importing it."""
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "train", purpose)
