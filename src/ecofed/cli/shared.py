"""What several commands share: their common options, where results go, and how help ends."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from ecofed.cli import completion
from ecofed.cli.commands import as_flags, example
from ecofed.cli.interrupt import MADE
from ecofed.cli.key_hints import option_hint, word_hint
from ecofed.cli.slow_work import shown_while
from ecofed.cli.streams import say
from ecofed.cli.usage import one_line
from ecofed.config import Settings
from ecofed.config.fields import AS_NAMED
from ecofed.errors import ConfigError, MissingExtraError
from ecofed.files.ownership import OWNER_FILE, holds_results, refuse_if_owned

if TYPE_CHECKING:
    from ecofed.runs.observing import Observer

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="PRESET|FILE.toml",
        help="A preset ('ecofed presets' lists them) or a TOML file; default: plain defaults.",
        autocompletion=completion.sources,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override one key; repeatable. 'ecofed presets --keys' lists every key.",
        autocompletion=completion.assignments,
    ),
]


def named_path(text: str | Path) -> Path:
    """A path from the command line, or a default. A variable that was empty would else mean the current folder."""
    if not str(text).strip():
        raise ConfigError("a path on the command line is empty; give a name, or . for the current folder")
    return Path(text)


Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder for the results.", parser=named_path)]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        help="How many runs are trained at a time, each in a process of its own; as many"
        " as there are cores is fastest.",
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME[:WHERE]",
        help="Also tell a tracker: tensorboard[:FOLDER], mlflow[:EXPERIMENT], wandb[:PROJECT] or trackio[:PROJECT];"
        " repeatable.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run that is in the folder.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what ecofed wrote there before.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; progress goes to stderr.")]


class Command(TyperCommand):
    """A command that answers a configuration key given as an option, or without one, with how it is set."""

    def get_params(self, ctx: Any) -> list[Any]:
        return as_flags(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(args)
        try:
            rest: list[str] = super().parse_args(ctx, args)
        except Exception as error:  # typer brings its own usage errors, another class for each of its versions
            hint = self._hint(error, words)
            if hint is not None:
                raise ConfigError(hint) from None
            with one_line(path=ctx.command_path):
                raise
        source = ctx.params.get("source")
        if isinstance(source, str) and not os.path.isfile(source) and (hint := word_hint(source)):
            raise ConfigError(hint)
        return rest

    def _hint(self, error: Exception, words: Sequence[str]) -> str | None:
        if not any("--set" in parameter.opts for parameter in self.params):
            return None
        option = getattr(error, "option_name", None)
        if isinstance(option, str):
            # Of -rounds the parser says -r.
            written = next((word.partition("=")[0] for word in words if word.startswith(option)), option)
            return option_hint(written, words)
        if "unexpected extra argument" not in str(getattr(error, "message", "")):
            return None
        return next(filter(None, map(word_hint, words)), None)


def add_command(app: typer.Typer, name: str, function: Callable[..., None], *examples: str) -> None:
    """Register a function as a command: its docstring is the help, which ends in the examples."""
    paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    app.command(name, cls=Command, help=text, epilog=example(*examples))(function)


def refuse_unknown_trackers(track: Sequence[str] | None) -> None:
    """Before anything is done.

    Raises:
        EcoFedError: a name is unknown, or its package is missing.
    """
    if track:
        from ecofed.runs.tracking import chosen

        for tracker in track:
            chosen(tracker)


def with_trackers(view: Observer, track: Sequence[str] | None, folder: Path) -> Observer:
    """Who is told about the runs in a folder."""
    if not track:
        return view
    from ecofed.runs.tracking import Tracked

    return Tracked(view, track, folder)


def output_folder(
    out: Path | None, settings: Settings, suffix: str, *, resume: bool, foreign: Sequence[str] = ()
) -> Path:
    """Where a command writes: ``out``, or ``runs/<preset or file name><suffix>``.

    ``foreign`` are files that another command leaves there: that is nothing to resume.

    Raises:
        ConfigError: the folder holds something and the user did not say ``--resume``, or something of another command.
    """
    folder = out or Path("runs") / f"{Path(settings.source).stem}{suffix}"
    new = not os.path.exists(folder)
    # A result that is there is shown, and nothing need be written.
    make_folder(folder, writable=not (resume and any((folder / name).is_file() for name in _FINISHED)))
    if resume and new:
        say(f"note: {folder} was not there: nothing is continued, the run begins")
    refuse_if_owned(folder)
    if not resume and any(entry.name != OWNER_FILE for entry in folder.iterdir()):
        what = "add --resume to continue it, or choose" if holds_results(folder) else "nothing there is a run's; choose"
        raise ConfigError(f"{folder} is not empty; {what} another: --out {_free(folder)}")
    strange = next((name for name in foreign if (folder / name).exists()), None)
    if resume and strange is not None:
        raise ConfigError(f"{folder} holds {strange} of another command; choose another folder: --out {_free(folder)}")
    return folder


def check_kept_out(run: Path, out: Path | None, suffix: str, *, resume: bool) -> Path:
    """Where a command writes that learns from what ``run`` kept: ``out``, or a folder beside it.

    Raises:
        ConfigError: as :func:`output_folder`.
    """
    named = run if run.name not in ("", "..") else run.resolve()
    folder = out or named.with_name(f"{named.name}-{suffix}")
    return output_folder(folder, Settings(), "", resume=resume, foreign=("summary.json", "frontier.json"))


#: One of them lies in the folder of a command that came to its end.
_FINISHED = ("result.json", "summary.json", "frontier.json", "audit.json")


def make_folder(folder: Path, option: str = "--out", *, writable: bool = True) -> None:
    """Make the folder that a command will write to, before it computes anything.

    Raises:
        ConfigError: there cannot be one, or it cannot be written to or listed.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file; choose a folder with {option}")
        if folder.is_symlink() and not folder.exists():
            raise ConfigError(f"{folder} is a link to a folder that is not there; choose another with {option}")
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            MADE.add(folder.absolute())
        with os.scandir(folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be made or read ({error.strerror}); choose another with {option}"
        ) from None
    if writable and not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: cannot be written to; choose another with {option}")


def check_file(path: Path, option: str = "--out") -> None:
    """Make the folder of a file that a command will write, before it computes anything.

    Raises:
        ConfigError: there cannot be such a file.
    """
    try:
        if path.is_dir() or not path.name:
            raise ConfigError(f"{path} is a folder; choose a file with {option}")
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is no regular file; choose another with {option}")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be a file ({error.strerror}); choose another with {option}") from None
    make_folder(path.parent, option)


def _free(folder: Path) -> Path:
    """A name beside it that is not taken; for the current folder and its like, which have no name, one in ``runs``."""
    if folder.name in ("", ".."):
        folder = Path("runs") / "first"
        if not folder.exists():
            return folder
    number = 2
    while (other := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    return other


def settings_of(source: str | Path | None, sets: Sequence[str] = ()) -> Settings:
    """What a preset or file and ``--set`` say, with a number of devices; errors as of :meth:`Settings.load`."""
    settings = Settings.load(source, sets)
    if settings.for_method(settings.method).devices != AS_NAMED:
        return settings
    need_torch("reading the data")
    from ecofed.runs.natural import settled

    return settled(settings)


def say_what_changes_nothing(settings: Settings, methods: Sequence[str], *, one: bool = False) -> None:
    """On stderr, before anything is computed: see :mod:`ecofed.runs.without_effect`."""
    from ecofed.runs.without_effect import without_effect

    for text in without_effect(settings, methods, one=one):
        say(f"note: {text}")


def need_torch(purpose: str) -> None:
    """Load PyTorch, which takes seconds; raises :class:`MissingExtraError` where it is not installed."""
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "train", purpose)
    with shown_while("loading PyTorch"):
        import_module("torch")
