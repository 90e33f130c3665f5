"""Rounds in which nothing was trained: nobody was there, or there was nothing to train on. A result says how many;
a run of nothing else is no success, however its files look."""

from __future__ import annotations

from collections.abc import Sequence

from ecofed.errors import EcoFedError
from ecofed.results import RoundRecord, RunResult

#: How the note of a round below the quorum begins.
SKIPPED = "round skipped, nothing was trained: "
#: How the note of a device ends that could not take part in one.
LEFT_OUT = "; left out of this round"


def untrained_note(records: Sequence[RoundRecord]) -> str:
    """``in 2 of 3 rounds nothing was trained``; empty where something was in each."""
    count = sum(record.trained is False for record in records)
    return f"in {count} of {len(records)} rounds nothing was trained" if count else ""


def all_untrained(records: Sequence[RoundRecord]) -> bool:
    """Whether no round has trained anything."""
    return bool(records) and all(record.trained is False for record in records)


def ended_words(result: RunResult) -> str:
    """``finished, accuracy 0.912``, or that nothing came of it."""
    if all_untrained(result.rounds):
        return "nothing was trained"
    return f"finished, accuracy {result.totals.final_test_accuracy:.3f}"


def refuse_untrained(results: Sequence[RunResult], kept: object = None) -> None:
    """Raise :class:`EcoFedError` where one of these runs trained nothing at all.

    Args:
        results: of one command.
        kept: where they are; ``None``: nowhere.
    """
    for result in results:
        if all_untrained(result.rounds):
            several = sum(other.method == result.method for other in results) > 1
            name = f"{result.method}, seed {result.seed}" if several else result.method
            notes = result.rounds[-1].notes
            causes = [note.removesuffix(LEFT_OUT) for note in notes[:-1] if note.endswith(LEFT_OUT)][:1]
            reason = f" ({'; '.join([notes[-1].removeprefix(SKIPPED), *causes])})" if notes else ""
            rounds = "its only round" if len(result.rounds) == 1 else f"any of its {len(result.rounds)} rounds"
            where = "" if kept is None else f"; what was recorded is in {kept}"
            raise EcoFedError(f"{name}: nothing was trained in {rounds}{reason}{where}")
