"""A run that goes on, or was stopped: what its folder tells before there is a ``result.json``.

At its start a run writes ``unfinished.json``, which is a result without rounds, bytes and totals; the rounds are in
``metrics.jsonl``, line by line as they end. Together they make a result of the rounds so far. The bytes by kind are
known at the end only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecofed.errors import EcoFedError
from ecofed.files.disk import json_text, write_text
from ecofed.files.json_values import parse
from ecofed.files.reading import content_of
from ecofed.reports.files import RESULT_FILE, read_file, result_of
from ecofed.results import DIRECTIONS, LAST_ROUNDS, SCHEMA, RoundRecord, RunResult, Totals

UNFINISHED_FILE = "unfinished.json"
UNFINISHED_SCHEMA = "ecofed-unfinished/1"
METRICS_FILE = "metrics.jsonl"
MAX_BYTES = 256 << 20
_NOT_FINISHED = "not finished"
_LATER = ("rounds", "ledger", "retransmitted_bytes", "totals")


def totals_of(records: Sequence[RoundRecord], wall_seconds: float) -> Totals:
    """Sums over the rounds; of accuracy the mean of the last five evaluations and the best, 0 before there is one."""
    accuracies = [record.test_accuracy for record in records if record.test_accuracy is not None]
    last = accuracies[-LAST_ROUNDS:]
    simulated = [record.simulated_seconds for record in records if record.simulated_seconds is not None]
    return Totals(
        uplink_bytes=sum(record.uplink_bytes for record in records),
        downlink_bytes=sum(record.downlink_bytes for record in records),
        final_test_accuracy=sum(last) / max(1, len(last)),
        best_test_accuracy=max(accuracies, default=0.0),
        simulated_seconds=math.fsum(simulated) if simulated else None,
        wall_seconds=wall_seconds,
    )


def write_unfinished(result: RunResult, folder: str | Path) -> Path:
    """Write what is known of a run at its start. Returns the file's path."""
    values = {name: value for name, value in result.to_dict().items() if name not in _LATER}
    return write_text(Path(folder) / UNFINISHED_FILE, json_text(values | {"schema": UNFINISHED_SCHEMA}) + "\n")


def read_unfinished(folder: str | Path) -> RunResult:
    """The result of the rounds so far, with a note that says how many they are.

    Raises:
        EcoFedError: a file is missing or malformed, or no round has been tested yet.
    """
    found = read_begun(folder)
    if found is None or all(record.test_accuracy is None for record in found.rounds):
        raise EcoFedError(f"{folder}: no round of this run has been tested yet; there is nothing to report on")
    return found


def read_begun(folder: str | Path) -> RunResult | None:
    """As :func:`read_unfinished`, tested or not; ``None`` before a round has ended."""
    file = Path(folder) / UNFINISHED_FILE
    values = read_file(file, UNFINISHED_SCHEMA)
    rounds = _rounds(Path(folder) / METRICS_FILE)
    if not rounds:
        return None
    empty = dict.fromkeys(DIRECTIONS, 0)
    nothing = {"uplink_bytes": 0, "downlink_bytes": 0, "final_test_accuracy": 0, "best_test_accuracy": 0}
    totals = nothing | {"simulated_seconds": None, "wall_seconds": 0}
    later = {"schema": SCHEMA, "rounds": rounds, "ledger": {}, "retransmitted_bytes": empty, "totals": totals}
    found = result_of(values | later, file)
    asked = found.config.get("rounds")
    spent = sum(record.device_seconds + record.server_seconds for record in found.rounds)
    told = {"totals": totals_of(found.rounds, spent), "notes": [*found.notes, _note(len(found.rounds), asked)]}
    return RunResult(**{name: getattr(found, name) for name in found.__dataclass_fields__} | told)


def is_unfinished(folder: str | Path) -> bool:
    """Whether a folder holds a run that has begun and not ended."""
    return os.path.isfile(Path(folder) / UNFINISHED_FILE)


def is_untested(folder: str | Path) -> bool:
    """Whether a folder holds a run that has begun, and no round of it has been tested yet."""
    if os.path.isfile(Path(folder) / RESULT_FILE) or not is_unfinished(folder):
        return False
    begun = read_begun(folder)
    return begun is None or all(record.test_accuracy is None for record in begun.rounds)


def unfinished_notes(result: RunResult) -> list[str]:
    """The note of :func:`read_unfinished`, if it was read by that."""
    return [text for text in result.notes if text.startswith(_NOT_FINISHED)]


def _note(done: int, asked: Any) -> str:
    return f"{_NOT_FINISHED}: these are {done} of {asked} rounds; the same command with --resume continues the run"


def _rounds(file: Path) -> list[Any]:
    """The records that are whole. A last line without its end was being written, or its writer was killed."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise EcoFedError(f"{file}: larger than {MAX_BYTES >> 20} MiB, which no run's records are")
        content = content_of(file)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise EcoFedError(f"{file}: cannot be read ({error.strerror or error})") from error
    records = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            records.append(parse(line))
        except ValueError as error:
            raise EcoFedError(f"{file}: line {number}: {error}") from error
    return records
