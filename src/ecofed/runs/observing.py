"""Who is told what happens in a run: the command line's progress bar, Flower's log, a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ecofed.config.schema import Config
from ecofed.results import RoundRecord, RunResult


class Observer(Protocol):
    """Is told what happens; the command line's progress bar is one."""

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        """``records``: of the rounds that were run before, when a run is resumed."""
        ...

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None: ...
    def note(self, text: str) -> None: ...
    def finished(self, result: RunResult) -> None: ...


class SilentObserver:
    """Says nothing."""

    def started(self, config: Config, records: Sequence[RoundRecord]) -> None:
        pass

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def finished(self, result: RunResult) -> None:
        pass
