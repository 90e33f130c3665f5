"""What a user sees while rounds go by: a bar on a terminal, plain lines elsewhere. Both on stderr."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console

from ecofed.cli.slow_work import Patience, WorkLines
from ecofed.cli.streams import say
from ecofed.config.schema import Config
from ecofed.errors.foreign_text import LONGEST_NAME, clean
from ecofed.reports.units import human_bytes, human_seconds
from ecofed.slow_work import told_to

if TYPE_CHECKING:
    from rich.progress import TaskID

    from ecofed.results import RoundRecord, RunResult

SECONDS_BETWEEN_LINES = 5.0
#: On a narrower terminal the figures take the place of the bar.
_ROOM_FOR_BARS = 76


class _Tally:
    """Running totals of one method's rounds."""

    def __init__(self, config: Config, records: Sequence[RoundRecord]) -> None:
        self.method = config.method
        self.rounds_done = 0
        self.bytes = 0
        self.accuracy: float | None = None
        for record in records:
            self.add(record)
        self.first_round = self.rounds_done
        self.started = time.monotonic()

    def add(self, record: RoundRecord) -> None:
        self.rounds_done = record.round
        self.bytes += record.uplink_bytes + record.downlink_bytes
        if record.test_accuracy is not None:
            self.accuracy = record.test_accuracy

    @property
    def accuracy_text(self) -> str:
        return "-" if self.accuracy is None else f"{self.accuracy:.3f}"

    @property
    def accuracy_cell(self) -> str:
        return f"accuracy {self.accuracy_text}"

    def seconds_left(self, total_rounds: int) -> float:
        per_round = (time.monotonic() - self.started) / max(1, self.rounds_done - self.first_round)
        return per_round * (total_rounds - self.rounds_done)


class ProgressView(Protocol):
    """An observer of the engine that is also a context manager: it owns the terminal between enter and exit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None: ...

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None: ...

    def note(self, text: str) -> None: ...

    def finished(self, result: RunResult) -> None: ...


class Bars:
    """One bar a method: round, accuracy, bytes so far, time left; one more for what is worked on, if that is slow."""

    def __init__(self, console: Console) -> None:
        self._narrow = console.width < _ROOM_FOR_BARS
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            *([] if self._narrow else [BarColumn(bar_width=None)]),
            TextColumn("{task.fields[unit]}{task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[accuracy]}"),
            TextColumn("{task.fields[bytes]}"),
            TextColumn("{task.fields[time]}"),
            console=console,
        )
        self._listening = ExitStack()
        self._patience = Patience()
        self._work: TaskID | None = None
        self._task: TaskID | None = None
        self._tally: _Tally | None = None
        self._said: set[str] = set()

    def beside(self) -> Bars:
        """For a run among others: a bar of its own."""
        other = copy.copy(self)
        other._task = other._tally = None
        return other

    def __enter__(self) -> Self:
        self._progress.start()
        self._listening.enter_context(told_to(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        self._progress.stop()

    def working(self, what: str, done: int, total: int) -> None:
        slow = self._patience.is_over(what, ended=done >= total)
        if self._work is not None:
            # Within a run one piece of work follows the other: a bar that came and went would flicker.
            if done >= total and self._task is None:
                self._end_work()
            else:
                self._progress.update(self._work, description=f"{what:<12}", completed=done, total=total)
        elif slow and done < total:
            self._work = self._progress.add_task(
                f"{what:<12}", total=total, completed=done, unit="", accuracy="", bytes="", time=""
            )

    def _end_work(self) -> None:
        if self._work is not None:
            self._progress.remove_task(self._work)
            self._work = None

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        self._end_work()
        self._tally = _Tally(config, records)
        self._task = self._add(config.method, total=config.rounds, done=self._tally.rounds_done)
        self._progress.update(self._task, accuracy=self._tally.accuracy_cell, bytes=human_bytes(self._tally.bytes))

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        if self._tally is None or self._task is None:
            return
        self._tally.add(record)
        self._progress.update(
            self._task,
            completed=record.round,
            total=total_rounds,
            accuracy=self._tally.accuracy_cell,
            bytes=human_bytes(self._tally.bytes),
            time=f"{human_seconds(self._tally.seconds_left(total_rounds))} left",
        )
        for text in record.notes:
            self.note(f"{self._tally.method}, round {record.round}: {text}")

    def note(self, text: str) -> None:
        if text not in self._said:  # every method of a comparison would say it again
            self._said.add(text)
            self._progress.console.print(clean(text), markup=False, highlight=False, style="dim")

    def finished(self, result: RunResult) -> None:
        from ecofed.results.untrained import ended_words  # which 'ecofed --help' would wait for

        # A run that was finished before, met again by --resume, has not been started here.
        task = self._task if self._task is not None else self._add(result.method, total=len(result.rounds), done=0)
        self._progress.update(
            task,
            completed=len(result.rounds),
            accuracy=ended_words(result).removeprefix("finished, "),
            bytes=human_bytes(result.total_bytes),
            time=human_seconds(result.totals.wall_seconds),
        )
        self._task = None
        self._end_work()

    def _add(self, method: str, *, total: int, done: int) -> TaskID:
        name = clean(method, LONGEST_NAME)
        return self._progress.add_task(
            f"{name:<12}",
            total=total,
            completed=done,
            unit="" if self._narrow else "round ",
            accuracy="accuracy -",
            bytes=human_bytes(0),
            time="",
        )


class Lines:
    """A line a round, at most one every few seconds, for log files and pipes."""

    def __init__(self, seconds_between: float = SECONDS_BETWEEN_LINES) -> None:
        self._seconds_between = seconds_between
        self._last = -seconds_between
        self._tally: _Tally | None = None
        self._said: set[str] = set()
        self._listening = ExitStack()
        self._work = WorkLines(self._write)

    def beside(self) -> Lines:
        """For a run among others: its lines stand between theirs."""
        other = copy.copy(self)
        other._tally = None
        return other

    def __enter__(self) -> Self:
        self._listening.enter_context(told_to(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()

    def working(self, what: str, done: int, total: int) -> None:
        # From the first round on a line a round says when it will be over.
        if self._tally is None or self._tally.rounds_done == self._tally.first_round:
            self._work.working(what, done, total)

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        self._tally = _Tally(config, records)
        resumed = f", continuing after round {self._tally.rounds_done}" if records else ""
        self._write(f"{config.method}: {config.rounds} {'round' if config.rounds == 1 else 'rounds'}{resumed}")

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        if self._tally is None:
            return
        self._tally.add(record)
        for text in record.notes:
            self.note(f"{self._tally.method}, round {record.round}: {text}")
        now = time.monotonic()
        if now - self._last >= self._seconds_between or record.round == total_rounds:
            self._last = now
            tally = self._tally
            self._write(
                f"{tally.method}: round {record.round}/{total_rounds}  accuracy {tally.accuracy_text}  "
                f"{human_bytes(tally.bytes)}  {human_seconds(tally.seconds_left(total_rounds))} left"
            )

    def note(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._write(clean(text))

    def finished(self, result: RunResult) -> None:
        from ecofed.results.untrained import ended_words

        self._write(
            f"{result.method}: {ended_words(result)}, "
            f"{human_bytes(result.total_bytes)}, {human_seconds(result.totals.wall_seconds)}"
        )

    def _write(self, text: str) -> None:
        say(text)


def progress_view() -> ProgressView:
    """Bars where stderr is a terminal, lines elsewhere."""
    console = Console(stderr=True)
    return Bars(console) if console.is_terminal and not console.is_dumb_terminal else Lines()
