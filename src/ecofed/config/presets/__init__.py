"""Named configurations that ship with the package: one TOML file each, whose first line says what it is for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecofed.errors import ConfigError, nearest
from ecofed.files.disk import read_text
from ecofed.files.json_values import parse_toml

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


def _folder() -> Traversable:
    """Where they lie."""
    from importlib import resources

    return resources.files(__name__)


def preset_names() -> list[str]:
    """Names of the shipped presets, sorted."""
    folder = _folder()
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def preset_text(name: str) -> str:
    """The TOML of a shipped preset.

    Raises:
        ConfigError: there is no preset of that name.
    """
    names = preset_names()
    if name not in names:
        raise ConfigError(f"unknown preset '{name}'{nearest(name, names)}; presets: {', '.join(names)}")
    return (_folder() / f"{name}.toml").read_text(encoding="utf-8")


def preset_description(name: str) -> str:
    """What a preset is for, in one line: its first comment."""
    return preset_text(name).partition("\n")[0].lstrip("# ")


def _neither(source: str, names: list[str]) -> str:
    """What to say of a word that names no settings: a list of presets helps who misspelt one, and nobody else."""
    if os.path.isdir(source):
        return (
            f"'{source}' is a folder, neither a preset nor a file; pictures are given with --set data.name={source}, "
            f"and a run that lies there is continued with its own preset or file and --out {source} --resume"
        )
    if len(Path(source).parts) > 1:
        return f"'{source}': there is no such file or run"
    return f"'{source}' is neither a preset nor a file{nearest(source, names)}; presets: {', '.join(names)}"


def read_toml(source: str | Path) -> dict[str, Any]:
    """The values of a preset or, where no preset has that name, of a TOML file.

    Raises:
        ConfigError: no such preset or file, not UTF-8 text, or not TOML.
    """
    names = preset_names()
    if str(source) in names:
        text = preset_text(str(source))
    else:
        path = Path(source)
        if not os.path.isfile(path):  # which is also no for a name that no file can have
            raise ConfigError(_neither(str(source), names))
        text = read_text(path)
    try:
        return parse_toml(text)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error
