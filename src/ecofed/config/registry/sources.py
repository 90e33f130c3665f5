"""The files and modules that plug-ins are: found, identified, run."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecofed.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where something that is registered comes from."""

    plugin: str
    """Name of the file or module."""
    version: str
    """Of the installed package; empty for a file."""
    digest: str
    """Of the source text."""


def from_file(file: Path) -> tuple[Origin, Callable[[], Any]]:
    if not file.is_file():
        raise ConfigError(f"plug-in {file}: no such file")
    origin = Origin(plugin=file.name, version="", digest=digest(file))
    # Under its own name, so that a file of its folder can import it, unless that name is taken.
    name = file.stem if file.stem not in sys.modules else f"ecofed_plugin_{origin.digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plug-in {file}: must be a Python file")
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def run() -> None:
        sys.modules[name] = module  # dataclasses look their module up
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise

    return origin, run


def from_module(name: str) -> tuple[Origin, Callable[[], Any]]:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ConfigError(f"plug-in {name}: no such module, nor a file (which ends in .py)")
    text = digest(Path(spec.origin)) if spec.origin and Path(spec.origin).is_file() else ""
    return Origin(plugin=name, version=version_of(name), digest=text), lambda: importlib.import_module(name)


def digest(file: Path) -> str:
    from hashlib import sha256

    return sha256(file.read_bytes()).hexdigest()[:32]


def version_of(module: str) -> str:
    from importlib.metadata import packages_distributions, version

    owners = packages_distributions().get(module.partition(".")[0], [])
    return version(owners[0]) if owners else ""
