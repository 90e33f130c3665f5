"""Who is told what happens in a run: the command line's progress bar, Flower's log, a script, a notebook."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ecofed.config.schema import Config
from ecofed.errors import ConfigError, Notice
from ecofed.reports.units import human_bytes, human_seconds
from ecofed.results import RoundRecord, RunResult
from ecofed.results.untrained import ended_words

#: Between two lines of :class:`ProgressLines`.
LINE_SECONDS = 5.0
_PACKAGE = str(Path(__file__).parents[1])


class Observer(Protocol):
    """Is told what happens in a run: give one as ``observer=`` to ``ecofed.run`` and ``ecofed.compare``.

    Any object with these four methods is one; :class:`SilentObserver` has them all and does nothing, so a class that
    derives from it needs only those that it wants. They are called in the thread of the run, between rounds: what they
    take adds to its time, and an exception of theirs (``KeyboardInterrupt`` too) ends the run, which can be resumed.
    """

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        """A run begins. ``records``: of the rounds that were run before, when a run is resumed."""
        ...

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        """A round has ended; ``record.test_accuracy`` is ``None`` where it was not evaluated."""
        ...

    def note(self, text: str) -> None:
        """Something that a user should know, in one line of printable characters. It also stands in the result."""
        ...

    def finished(self, result: RunResult) -> None:
        """The run has ended, and its files are written."""
        ...


class SilentObserver:
    """Says nothing; a base for observers of one's own."""

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        pass

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finished(self, result: RunResult) -> None:
        pass


def checked(observer: Observer | None, otherwise: Callable[[], Observer] = SilentObserver) -> Observer:
    """Who is told: ``otherwise()`` where nobody was named.

    Raises:
        ConfigError: what was named cannot be told; before anything is done.
    """
    if observer is None:
        return otherwise()
    name = type(observer).__name__
    if isinstance(observer, type):
        raise ConfigError(f"observer: {observer.__name__} is a class; give an object of it: {observer.__name__}()")
    for method in ("started", "round_finished", "note", "finished"):
        if not callable(getattr(observer, method, None)):
            raise ConfigError(f"observer: {name} has no method {method}; derive from ecofed.SilentObserver")
    return observer


class ProgressLines:
    """What scripts and notebooks get unless they say otherwise: a line every few seconds, and notes as warnings.

    Lines go to stderr, in notebooks (which would show that as an error) to stdout. Notes are of the category
    :class:`ecofed.Notice`, for :mod:`warnings` to show once, to turn into errors, or to leave out.
    """

    def __init__(self) -> None:
        self._method = ""
        self._began = self._spoke = time.monotonic()
        self._done_before = self._moved = 0

    def beside(self) -> ProgressLines:
        """For a run among others: its lines stand between theirs."""
        return ProgressLines()

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        self._method, self._done_before = config.method, len(records)
        self._moved = sum(record.uplink_bytes + record.downlink_bytes for record in records)
        self._began = self._spoke = time.monotonic()

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        self._moved += record.uplink_bytes + record.downlink_bytes
        now = time.monotonic()
        if now - self._spoke < LINE_SECONDS or record.round == total_rounds:
            return
        self._spoke = now
        left = (now - self._began) / (record.round - self._done_before) * (total_rounds - record.round)
        accuracy = "" if record.test_accuracy is None else f", accuracy {record.test_accuracy:.3f}"
        self._say(
            f"round {record.round} of {total_rounds}{accuracy}, {human_bytes(self._moved)}, {human_seconds(left)} left"
        )

    def note(self, text: str) -> None:
        # As said where the user's own code calls, not somewhere in here.
        frame, file, line = sys._getframe(1), _PACKAGE, 1
        while frame is not None and file.startswith(_PACKAGE):
            file, line, frame = frame.f_code.co_filename, frame.f_lineno, frame.f_back  # type: ignore[assignment]
        warnings.warn_explicit(text, Notice, file, line)

    def finished(self, result: RunResult) -> None:
        self._method, rounds = result.method, len(result.rounds)
        self._say(
            f"{ended_words(result).removeprefix('finished, ')}, {human_bytes(result.total_bytes)}, "
            f"{rounds} round{'s' if rounds != 1 else ''} in {human_seconds(result.totals.wall_seconds)}"
        )

    def _say(self, text: str) -> None:
        print(f"{self._method}: {text}", file=sys.stdout if "ipykernel" in sys.modules else sys.stderr, flush=True)
