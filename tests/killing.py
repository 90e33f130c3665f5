"""A process that ends at a certain change of the disk, without ending the process that tests run in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Killed(BaseException):
    """As if the process had ended there."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Whatever changes the disk is counted; from number ``step`` on nothing does any more."""
    done: list[str] = []

    def counted(name: str, changes: Callable[..., bool]) -> Callable[..., Any]:
        original = getattr(os, name)

        def change(path: Any, *rest: Any, **options: Any) -> Any:
            if str(path).endswith(".owner") or not changes(*rest):  # the kernel gives the lock back
                return original(path, *rest, **options)
            if len(done) >= step:
                raise Killed
            done.append(name)
            return original(path, *rest, **options)

        return change

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "rmdir", "fsync"):
            patch.setattr(os, name, counted(name, lambda *_: True))
        patch.setattr(os, "open", counted("open", lambda flags, *_: bool(flags & os.O_APPEND)))
        yield done
