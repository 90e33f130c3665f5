"""What ran: every run below a folder, with how far it came."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ecofed.errors import EcoFedError, InUseError
from ecofed.files.ownership import refuse_if_owned
from ecofed.reports.files import RESULT_FILE, read_result
from ecofed.reports.unfinished import METRICS_FILE, UNFINISHED_FILE, read_begun
from ecofed.results import RunResult

#: Folders below the one that was asked about: a comparison's runs, a sweep's, and a few of the user's own above.
MOST_LEVELS = 5


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One run."""

    folder: str
    """As seen from the folder that was asked about."""
    state: Literal["finished", "running", "stopped", "damaged"]
    changed: str
    """When its result, or its last round, was written: UTC, ISO 8601."""
    method: str = ""
    data: str = ""
    seed: int | None = None
    rounds_done: int = 0
    rounds: int | None = None
    """That it was to have."""
    accuracy: float | None = None
    """The mean of the last evaluations; ``None`` before the first."""
    bytes: int = 0
    """Up and down."""
    problem: str = ""
    """Why it cannot be read."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def list_runs(folder: str | Path) -> list[Listed]:
    """Every run in a folder and its sub-folders, the latest first; what is no run is passed over."""
    top = Path(folder)
    if not top.is_dir():
        raise EcoFedError(f"{top}: no such folder; runs are in runs/ unless --out says otherwise")
    return sorted(_found(top), key=lambda one: (one.changed, one.folder), reverse=True)


def _found(top: Path) -> Iterator[Listed]:
    for place, folders, files in os.walk(top):
        here = Path(place)
        depth = len(here.relative_to(top).parts)
        folders[:] = sorted(name for name in folders if depth < MOST_LEVELS and not name.startswith("."))
        name = next((name for name in (RESULT_FILE, UNFINISHED_FILE) if name in files), None)
        if name is not None:
            yield _read(here, here.relative_to(top).as_posix(), here / name)


def _read(folder: Path, shown: str, file: Path) -> Listed:
    times = [path.stat().st_mtime for path in (file, folder / METRICS_FILE) if path.exists()]
    changed = datetime.fromtimestamp(max(times, default=0.0), UTC).isoformat(timespec="seconds")
    try:
        result = read_result(folder) if file.name == RESULT_FILE else read_begun(folder)
    except EcoFedError as error:
        ended = folder / RESULT_FILE
        if file != ended and ended.exists():  # meanwhile
            return _read(folder, shown, ended)
        return Listed(folder=shown, state="damaged", changed=changed, problem=str(error))
    if result is None:
        return Listed(folder=shown, state=_begun(folder), changed=changed)
    asked = result.config.get("rounds")
    return Listed(
        folder=shown,
        state="finished" if file.name == RESULT_FILE else _begun(folder),
        changed=changed,
        method=result.method,
        data=result.data.name,
        seed=result.seed,
        rounds_done=len(result.rounds),
        rounds=asked if isinstance(asked, int) else None,
        accuracy=result.totals.final_test_accuracy if _tested(result) else None,
        bytes=result.total_bytes,
    )


def _tested(result: RunResult) -> bool:
    return any(record.test_accuracy is not None for record in result.rounds)


def _begun(folder: Path) -> Literal["running", "stopped"]:
    for owned in (folder, folder.parent):  # a comparison owns the folder that its runs are in, too
        try:
            refuse_if_owned(owned)
        except InUseError:
            return "running"
    return "stopped"
