"""How far slow work has come, told to whoever shows it: reading pictures, the devices of a round, its training.

What works counts (:func:`counted`); what has a terminal listens (:func:`told_to`). Where nobody listens, nothing
happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


class Listener(Protocol):
    """Is told after every piece, so it must be quick."""

    def working(self, what: str, done: int, total: int) -> None:
        """``done`` of ``total`` are there; all of them: it has ended, well or not."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Inside, this listener is told, and no other."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def counted(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The items, one after the other, while the listener hears how many there were. ``what``: ``reading pictures``."""
    listener = _listener.get()
    if listener is None:
        yield from items
        return
    try:
        for done, item in enumerate(items):
            if done < total:
                listener.working(what, done, total)
            yield item
    finally:
        listener.working(what, total, total)
