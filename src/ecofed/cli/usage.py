"""Mistakes on the command line, told as every other error is: one line, with what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ecofed.errors import ConfigError, nearest

#: What other programs call some of the commands, and what to say to whoever types that.
_OTHER_WORDS = {
    "train": "'ecofed run' trains one method, 'ecofed compare' several",
    "start": "'ecofed run' trains one method, 'ecofed compare' several",
    "simulate": "'ecofed run' trains one method, 'ecofed compare' several",
    "resume": "the command that began the run continues it, with --resume at its end",
    "continue": "the command that began the run continues it, with --resume at its end",
    "test": "'ecofed evaluate RUN' tests a trained network",
    "eval": "'ecofed evaluate RUN' tests a trained network",
    "infer": "'ecofed predict RUN IMAGE' names what is on a picture",
    "classify": "'ecofed predict RUN IMAGE' names what is on a picture",
    "list": "'ecofed runs' lists runs, 'ecofed presets' what is ready to run",
    "ls": "'ecofed runs' lists runs, 'ecofed presets' what is ready to run",
    "status": "'ecofed runs' lists runs, 'ecofed presets' what is ready to run",
    "sweep": "'ecofed frontier' sweeps bits, views and fronts; 'ecofed tune RUN' searches for settings",
    "config": "'ecofed presets --keys' lists every key, 'ecofed presets NAME' a preset's",
    "keys": "'ecofed presets --keys' lists every key, 'ecofed presets NAME' a preset's",
    "deploy": "'ecofed fleet init' sets up real devices, 'ecofed fleet try' tries some on this machine",
    "init": "'ecofed fleet init' sets up real devices, 'ecofed presets NAME > my.toml' begins a file of settings",
    "help": "'ecofed --help' lists the commands",
    "version": "'ecofed --version' tells it",
}

_PROGRAM = __name__.partition(".")[0]


@contextmanager
def one_line(valid: Iterable[str] = (), path: str = _PROGRAM) -> Iterator[None]:
    """Usage errors inside become :class:`ConfigError`.

    Args:
        valid: the commands that there are, for who misspells one.
        path: what to ask for help, where the error does not say where it happened.
    """
    try:
        yield
    except Exception as error:  # typer brings its own usage errors, another class for each of its versions
        if not _is_usage(error):
            raise
        raise ConfigError(_line(error, sorted(valid), path)) from None


def _is_usage(error: Exception) -> bool:
    """Help that is asked for by no words at all comes the same way, and is none."""
    return (
        getattr(error, "exit_code", None) == 2
        and callable(getattr(error, "format_message", None))
        and (type(error).__name__ != "NoArgsIsHelpError")
    )


def _line(error: Any, valid: Sequence[str], path: str) -> str:
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", None) or path
    text = str(error.format_message()).strip().rstrip(".")
    said = text[:1].lower() + text[1:]
    if said.startswith("no such command"):
        word = said.split("'")[1] if said.count("'") > 1 else ""
        of_all = " " not in path
        names = valid if of_all else sorted(getattr(getattr(context, "command", None), "commands", ()))
        if of_all and word in _OTHER_WORDS:
            return f"no such command '{word}'; {_OTHER_WORDS[word]}"
        return f"no such command '{word}'{nearest(word, names)}; '{path} --help' lists those that there are"
    if "unexpected extra argument" in said and (key := _key_without_value(sys.argv[1:])):
        return f"--set {key[0]} {key[1]}: a key and its value are one word, --set {key[0]}={key[1]}"
    return f"{said}; '{path} --help' tells how it is used"


def _key_without_value(words: Sequence[str]) -> tuple[str, str] | None:
    """The key and the value of ``--set rounds 5``."""
    for option, key, value in zip(words, words[1:], words[2:], strict=False):
        if option == "--set" and "=" not in key and not value.startswith("-"):
            return key, value
    return None
