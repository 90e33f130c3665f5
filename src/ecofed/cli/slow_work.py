"""What a user sees of slow work: a bar on a terminal, plain lines elsewhere. Only of what takes a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from ecofed.cli.streams import say
from ecofed.slow_work import Listener

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Work that is done before is not worth a word.
PATIENCE_SECONDS = 1.0
SECONDS_BETWEEN_LINES = 5.0

Clock = Callable[[], float]


class Patience:
    """Whether something has been going on for so long that it should be shown."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._what: str | None = None
        self.began = 0.0

    def is_over(self, what: str, *, ended: bool) -> bool:
        """To be asked after every piece."""
        now = self._clock()
        if what != self._what:
            self._what, self.began = what, now
        if ended:
            self._what = None
        return now >= self.began + PATIENCE_SECONDS


class WorkLines:
    """A line now and then, and one at the end if there was one before."""

    def __init__(self, write: Callable[[str], None] = say, clock: Clock = time.monotonic) -> None:
        self._write, self._clock, self._patience = write, clock, Patience(clock)
        self._next: float | None = None

    def working(self, what: str, done: int, total: int) -> None:
        slow, now = self._patience.is_over(what, ended=done >= total), self._clock()
        if done >= total:
            if self._next is not None:
                self._write(f"{what}: done after {now - self._patience.began:.0f} s")
                self._next = None
        elif slow and (self._next is None or now >= self._next):
            self._next = now + SECONDS_BETWEEN_LINES
            self._write(f"{what}: {done:,} of {total:,}")


class WorkBar:
    """A bar that comes after a while and goes at the end."""

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console, self._patience = console, Patience(clock)
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def working(self, what: str, done: int, total: int) -> None:
        slow = self._patience.is_over(what, ended=done >= total)
        if done >= total:
            if self._progress is not None:
                self._progress.stop()
                self._progress = self._task = None
        elif self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done)
        elif slow:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
            self._task = self._progress.add_task(what, total=total, completed=done)


@contextmanager
def shown_while(what: str) -> Iterator[None]:
    """A sign of life on a terminal, for what cannot be counted."""
    console = Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        with console.status(what):
            yield
    else:
        yield


def work_view() -> Listener:
    """A bar where stderr is a terminal, lines elsewhere."""
    console = Console(stderr=True)
    return WorkBar(console) if console.is_terminal and not console.is_dumb_terminal else WorkLines()
