"""A run that is stopped by Ctrl-C."""

from __future__ import annotations

from ecofed.results import RoundRecord
from ecofed.runs.observing import SilentObserver


class StopAfter(SilentObserver):
    """Presses Ctrl-C after a round (0: never), and keeps what was noted."""

    def __init__(self, round_: int = 0) -> None:
        self._round = round_
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        if record.round == self._round:
            raise KeyboardInterrupt
