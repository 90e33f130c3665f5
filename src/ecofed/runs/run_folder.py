"""The folder of a run, a comparison or a sweep: who may write there, and what may be there already.

One rule: a folder with something in it is continued (``resume``), or its results are replaced when the user says so
(``overwrite``), and only by a command of the same kind. Nothing is replaced in silence.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ecofed.activations import BUFFER_FOLDER
from ecofed.config.schema import Config
from ecofed.errors import CheckpointError, ConfigError, EcoFedError, PluginError
from ecofed.files.disk import append_text, json_text, write_text
from ecofed.files.json_values import parse, read_as
from ecofed.files.ownership import OWNER_FILE, holds_results, owned
from ecofed.files.replacing import refuse_strange
from ecofed.files.tensor_files import unpack
from ecofed.reports.files import AUDIT_FOLDER, RESULT_FILE, SUMMARY_FILE, read_file, read_result
from ecofed.reports.frontiers import FRONTIER_FILE, PLOT_FILE
from ecofed.reports.html import REPORT_FILE
from ecofed.reports.unfinished import METRICS_FILE, UNFINISHED_FILE, UNFINISHED_SCHEMA
from ecofed.results import RoundRecord, RunResult
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint, differing_keys
from ecofed.runs.inputs import Now, compare_with_now, not_recorded, refuse_changes
from ecofed.runs.kept_buffer import DELETION_FILE, FORGOTTEN_FILE, KEPT_FOLDER

MODEL_FILE = "model.safetensors"
Kind = Literal["run", "compare", "frontier"]
#: What tells that a folder is another command's.
FOREIGN: dict[Kind, tuple[str, ...]] = {
    "run": (SUMMARY_FILE, FRONTIER_FILE),
    "compare": (RESULT_FILE, METRICS_FILE, FRONTIER_FILE),
    "frontier": (RESULT_FILE, METRICS_FILE, SUMMARY_FILE),
}
#: What a command would replace.
TARGETS: dict[Kind, tuple[str, ...]] = {
    "run": (RESULT_FILE, UNFINISHED_FILE, METRICS_FILE, MODEL_FILE, CHECKPOINT_FILE, REPORT_FILE),
    "compare": (SUMMARY_FILE, REPORT_FILE),
    "frontier": (FRONTIER_FILE, PLOT_FILE),
}
#: Of those, what has a reader of its own, which says what is wrong with it.
_READ = (RESULT_FILE, UNFINISHED_FILE, CHECKPOINT_FILE)


@contextmanager
def claimed(folder: Path, kind: Kind, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Own a folder (:mod:`ecofed.files.ownership`) that a command of this kind may write its results to.

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
            if not holds_results(folder):
                raise ConfigError(f"{folder} is not empty, and no run is in it; choose another folder with out")
            raise ConfigError(
                f"{folder} is not empty; resume=True continues what is there, overwrite=True replaces it, or choose "
                "another folder with out"
            )
        _check_targets(folder, kind, resume=resume)
        yield


@contextmanager
def claimed_part(folder: Path, *, resume: bool) -> Iterator[None]:
    """As :func:`claimed`, for a run's folder in that of a comparison or a sweep."""
    with owned(folder):
        _check_targets(folder, "run", resume=resume)
        yield


def _check_targets(folder: Path, kind: Kind, *, resume: bool) -> None:
    refuse_strange(*(folder / name for name in TARGETS[kind] if not (resume and name in _READ)))


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
    if differing := differing_keys(config.to_dict(), Config.from_dict(result.config).to_dict()):
        raise CheckpointError(f"{folder} holds a finished run with other settings ({differing}); choose another --out")
    return result


def check_finished(runs: Mapping[Path, Config], note: Callable[[str], None]) -> None:
    """Have the runs that are finished in these folders stand only for what is here now.

    Raises:
        ConfigError: the data, a front or something else that one of them read has changed; says what.
    """
    now = Now()
    for folder, config in runs.items():
        result = finished(folder, config)
        if result is not None:
            compare_with_now(result.inputs, config, folder, now, note)


def begun(folder: Path, config: Config, inputs: Mapping[str, str], note: Callable[[str], None]) -> Checkpoint | None:
    """The checkpoint of the run that goes on in a folder; ``None`` where it has none yet, or begins there.

    Raises:
        CheckpointError: it is damaged, or of other settings. ConfigError: what the run read has changed, or there is a
            network or something else that another run wrote.
    """
    checkpoint = Checkpoint.read(folder, config.to_dict())
    _refuse_network(folder, config, inputs)
    if checkpoint is not None:
        then: Mapping[str, str] = checkpoint.inputs
    elif (folder / UNFINISHED_FILE).is_file():
        then = _unfinished(folder, config)
    else:
        _refuse_left(folder)
        return None
    if then:
        refuse_changes(then, inputs, folder)
    else:
        note(not_recorded(folder))
    return checkpoint


def _unfinished(folder: Path, config: Config) -> dict[str, str]:
    """What a run that was stopped before its first checkpoint read; it must be a run of these settings."""
    file = folder / UNFINISHED_FILE
    try:
        values = read_file(file, UNFINISHED_SCHEMA)
        inputs: dict[str, str] = read_as(dict[str, str], values.get("inputs", {}), "inputs")
        there = Config.from_dict(read_as(dict[str, Any], values.get("config"), "config"))
    except PluginError:
        raise
    except (ValueError, EcoFedError) as error:
        raise CheckpointError(f"{file}: damaged ({error}); delete it to start this run again") from error
    if differing := differing_keys(config.to_dict(), there.to_dict()):
        raise CheckpointError(
            f"{file}: belongs to a run with another configuration ({differing}); resume with the same settings, or "
            "choose another --out"
        )
    return inputs


def _refuse_network(folder: Path, config: Config, inputs: Mapping[str, str]) -> None:
    """A network there must be this run's: killed between the network and the result, it is going to write it again."""
    file = folder / MODEL_FILE
    if not file.exists():
        return
    try:
        values = parse(unpack(file).description)
        own = Config.from_dict(parse(values["task"])["config"]) == config
        known: dict[str, str] = read_as(dict[str, str], values.get("inputs", {}))
        own = own and all(known[name] == inputs.get(name, known[name]) for name in known)
    except (OSError, ValueError, KeyError, TypeError, EcoFedError):
        own = False
    if not own:
        raise ConfigError(
            f"{file} is a network that this run did not train, and would be replaced; move it, or choose another --out"
        )


def _refuse_left(folder: Path) -> None:
    """Where no run goes on, nothing of one may lie: it would be replaced, or taken for the new one's."""
    for name in (METRICS_FILE, REPORT_FILE, BUFFER_FOLDER):
        place = folder / name
        if place.is_dir() or (place.is_file() and place.stat().st_size):
            raise ConfigError(
                f"{place} is of another run, and no run is there that could be continued; move it, or choose another "
                "--out"
            )


def clear(folder: Path) -> None:
    """Remove what another run left: it would be mistaken for that of the one that begins."""
    for name in (RESULT_FILE, MODEL_FILE, METRICS_FILE, REPORT_FILE, DELETION_FILE, FORGOTTEN_FILE):
        (folder / name).unlink(missing_ok=True)
    for name in (KEPT_FOLDER, AUDIT_FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)
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
