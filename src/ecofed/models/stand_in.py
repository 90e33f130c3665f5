"""Importing a package whose own imports cannot be had, where what is used of it does not need them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def importable(package: str) -> Iterator[None]:
    """Within, ``import package`` succeeds: where it is missing or broken, with placeholders that can do nothing.

    A build of torchvision for another PyTorch, say, is installed and raises when it is imported. Afterwards the
    placeholders are forgotten again: nobody else takes them for the package.
    """
    if _imports(package):
        yield
        return
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _forget(package)


def _imports(package: str) -> bool:
    try:
        importlib.import_module(package)
    except Exception:  # a broken package raises whatever it likes
        _forget(package)
        return False
    return True


def _forget(package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


class _Placeholder(type):
    """A class that has every attribute: its path, as text."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{cls.__name__}.{name}"


class _Module(ModuleType):
    """A module that has every name: a placeholder."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Placeholder(name, (), {})


class _Finder(MetaPathFinder, Loader):
    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        own = fullname.partition(".")[0] == self._package
        return ModuleSpec(fullname, self, is_package=True) if own else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""
