"""Tasks side by side: a few processes, each of which carries out one after the other.

:mod:`multiprocessing`'s own pool replaces a process that was killed (memory was short), and waits for what it was doing
for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar, cast

from ecofed.errors import EcoFedError, as_raised
from ecofed.runtimes.lifetime import end_with_parent

T = TypeVar("T")
R = TypeVar("R")
#: How long a process may take to end by itself.
_PATIENCE_SECONDS = 3.0


@contextmanager
def crew(count: int, function: Callable[[T], R]) -> Iterator[Callable[[Iterable[T]], Iterator[R]]]:
    """``count`` processes, which end with the block or with this process, whatever they are doing.

    Ctrl-C is answered by this process alone.

    Yields:
        what has them apply ``function`` to some tasks: results in the order in which they come, all of which are to be
        taken. Raises an EcoFedError that one of them has raised, or because one was killed.
    """
    members: list[_Member[T, R]] = []
    try:
        with _ctrl_c_later():
            for _ in range(count):
                members.append(_Member(function))  # noqa: PERF401  those that began before one failed are to end
        yield partial(_carried_out, members)
    finally:
        for member in members:
            member.dismiss()
        for member in members:
            member.end()


def _carried_out(members: Sequence[_Member[T, R]], tasks: Iterable[T]) -> Iterator[R]:
    left, idle = deque(tasks), list(members)
    busy: dict[Any, _Member[T, R]] = {}
    while left or busy:
        while left and idle:
            member = idle.pop()
            member.give(left.popleft())
            busy[member.way] = member
        for way in wait(list(busy)):
            member = busy.pop(way)
            idle.append(member)
            yield member.answer()


class _Member(Generic[T, R]):
    def __init__(self, function: Callable[[T], R]) -> None:
        context = get_context("spawn")
        self.way, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(function, theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is noticed

    def give(self, task: T) -> None:
        """Have it begin."""
        try:
            self.way.send(task)
        except OSError as error:
            raise self._missed() from error

    def answer(self) -> R:
        """What came of it."""
        try:
            result, failed = self.way.recv()
        except (EOFError, OSError) as error:
            raise self._missed() from error
        if failed is not None:
            raise as_raised(*failed)
        return cast(R, result)

    def _missed(self) -> EcoFedError:
        self._process.join()
        return EcoFedError(
            f"the process of a trial ended without a word ({self._process.exitcode}), as where memory runs out; "
            "what is finished is kept: --resume continues, and --workers 1 takes the least memory"
        )

    def dismiss(self) -> None:
        """Have it end, and clear up after itself: what it leaves, multiprocessing would warn of."""
        self._process.terminate()

    def end(self) -> None:
        self._process.join(_PATIENCE_SECONDS)
        self._process.kill()
        self._process.join()
        self.way.close()


def _serve(function: Callable[[T], R], way: Connection, parent: int) -> None:
    """In the other process: until nobody asks any more."""
    end_with_parent(parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with contextlib.suppress(EOFError):
        while True:
            task = way.recv()
            try:
                result, failed = function(task), None
            except EcoFedError as error:
                result, failed = None, (type(error).__name__, str(error))
            way.send((result, failed))


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Ctrl-C waits until the end of the block, and never reaches processes that are started in it: from their first
    moment on, when they could only answer it with a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # multiprocessing's own: it lets signals through again when it has started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
