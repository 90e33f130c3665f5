"""The folder of a run, a comparison or a sweep: who may write there, and what may be there already.

One rule: a folder with something in it is continued (``resume``), or its results are replaced when the user says so
(``overwrite``), and only by a command of the same kind. Nothing is replaced in silence.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from ecofed.activations import BUFFER_FOLDER
from ecofed.checkpoints import CHECKPOINT_FILE
from ecofed.config import Config
from ecofed.errors import CheckpointError, ConfigError
from ecofed.files import append_text, json_text, write_text
from ecofed.ownership import OWNER_FILE, owned
from ecofed.reports.files import RESULT_FILE, SUMMARY_FILE, read_result
from ecofed.reports.frontiers import FRONTIER_FILE
from ecofed.reports.unfinished import METRICS_FILE, UNFINISHED_FILE
from ecofed.results import RoundRecord, RunResult

Kind = Literal["run", "compare", "frontier"]
#: What tells that a folder is another command's.
FOREIGN: dict[Kind, tuple[str, ...]] = {
    "run": (SUMMARY_FILE, FRONTIER_FILE),
    "compare": (RESULT_FILE, METRICS_FILE, FRONTIER_FILE),
    "frontier": (RESULT_FILE, METRICS_FILE, SUMMARY_FILE),
}


@contextmanager
def claimed(folder: Path, kind: Kind, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Own a folder (:mod:`ecofed.ownership`) that a command of this kind may write its results to.

    Raises:
        ConfigError: another process has it, or it holds something and was to be neither continued nor replaced.
    """
    if resume and overwrite:
        raise ConfigError("resume and overwrite: a run is either continued or replaced; choose one")
    with owned(folder):
        strange = holds_foreign(folder, kind)
        if strange is not None:
            raise ConfigError(f"{folder} holds {strange} of another command; choose another folder")
        if not (resume or overwrite or is_empty(folder)):
            raise ConfigError(
                f"{folder} is not empty; resume=True continues what is there, overwrite=True replaces it, or choose "
                "another folder with out"
            )
        yield


def is_empty(folder: Path) -> bool:
    """Whether nothing is there but the name of its owner."""
    return all(entry.name == OWNER_FILE for entry in folder.iterdir())


def holds_foreign(folder: Path, kind: Kind) -> str | None:
    """A file there that another command left, which is nothing to continue or replace."""
    return next((name for name in FOREIGN[kind] if (folder / name).exists()), None)


def finished(folder: Path, config: Config) -> RunResult | None:
    """The result of a run that came to its end there.

    Raises:
        CheckpointError: of a run with other settings. EcoFedError: what is there is no result.
    """
    if not (folder / RESULT_FILE).exists():
        return None
    result = read_result(folder)
    # Keys that are newer than the run have their defaults.
    if Config.from_dict(result.config) != config:
        raise CheckpointError(f"{folder} holds a finished run with other settings; choose another --out")
    return result


def clear(folder: Path) -> None:
    """Remove what another run left: it would be mistaken for that of the one that begins."""
    (folder / RESULT_FILE).unlink(missing_ok=True)
    tidy(folder)


def tidy(folder: Path) -> None:
    """Remove what only an unfinished run needs."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    (folder / UNFINISHED_FILE).unlink(missing_ok=True)
    shutil.rmtree(folder / BUFFER_FOLDER, ignore_errors=True)


def is_tidy(folder: Path) -> bool:
    """Whether :func:`tidy` would change nothing."""
    return not any((folder / name).exists() for name in (CHECKPOINT_FILE, UNFINISHED_FILE, BUFFER_FOLDER))


def write_metrics(folder: Path, records: list[RoundRecord]) -> None:
    """The rounds so far, a line each."""
    write_text(folder / METRICS_FILE, "".join(json_text(record.to_dict()) + "\n" for record in records))


def append_metrics(folder: Path, record: RoundRecord) -> None:
    """One round more."""
    append_text(folder / METRICS_FILE, json_text(record.to_dict()) + "\n")
