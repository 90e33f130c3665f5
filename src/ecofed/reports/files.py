"""Results on disk: ``result.json`` (one run) and ``summary.json`` plus one folder a run (a comparison).

Files are written whole or not at all. What is read is checked field by field, because a report may be asked for
any folder; every failure is one :class:`~ecofed.errors.EcoFedError` that names the file.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from ecofed.config.codecs import codec_names
from ecofed.config.moved import with_current_keys
from ecofed.config.schema import PLUGINS, Config, all_keys, all_methods, section_types
from ecofed.errors import ConfigError, EcoFedError
from ecofed.files.disk import write_json
from ecofed.files.json_values import parse, read_as
from ecofed.files.reading import content_of
from ecofed.results import DIRECTIONS, SCHEMA, SUMMARY_SCHEMA, Comparison, RunResult
from ecofed.results.audits import AUDIT_SCHEMA, Audit, Leakage

RESULT_FILE = "result.json"
SUMMARY_FILE = "summary.json"
#: In a run's folder: what 'ecofed audit RUN' writes.
AUDIT_FOLDER, AUDIT_FILE = "audit", "audit.json"
#: A result of 100,000 devices and 10,000 rounds is smaller.
MAX_BYTES = 256 << 20


def write_result(result: RunResult, folder: str | Path) -> Path:
    """Write ``result.json`` into a folder, which is made if need be. Returns the file's path."""
    return write_json(Path(folder) / RESULT_FILE, result.to_dict())


def read_result(path: str | Path) -> RunResult:
    """Read a ``result.json``, or the one in a folder.

    Raises:
        EcoFedError: the file is missing, unreadable, of another schema, or a field is missing or of a wrong type.
    """
    path = Path(path)
    file = path / RESULT_FILE if os.path.isdir(path) else path
    return replace(result_of(read_file(file, SCHEMA), file), leakage=leakage_in(file.parent))


def leakage_in(folder: Path) -> Leakage | None:
    """What an audit of a run found that lies in the run's folder; ``None``: there is none.

    Raises:
        EcoFedError: it is malformed.
    """
    file = folder / AUDIT_FOLDER / AUDIT_FILE
    if not file.is_file():
        return None
    audit: Audit = _read_as(Audit, read_file(file, AUDIT_SCHEMA), "", file)
    return audit.leakage


def result_of(values: dict[str, Any], file: Path) -> RunResult:
    """A result from JSON values; ``file`` is where they come from. Raises :class:`EcoFedError`."""
    result: RunResult = _read_as(RunResult, _current(values, file), "", file)
    for problem, there in _problems(result).items():
        if there:
            raise EcoFedError(f"{file}: {problem}")
    _check_settings(result.config, file)
    return result


def _current(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """With its settings under the names that keys have now."""
    if not isinstance(config := values.get("config"), dict):
        return values
    try:
        return values | {"config": with_current_keys(config)}
    except ConfigError as error:
        raise EcoFedError(f"{file}: config: {error}") from error


def _problems(result: RunResult) -> dict[str, bool]:
    """What no type tells."""
    counts, spans = result.data.label_counts, [span for record in result.rounds for span in record.timeline or ()]
    return {
        "'data.label_counts' does not have one count for each of 'data.classes'": any(
            len(row) != len(result.data.classes) for row in counts
        ),
        "'scores' must have an entry for each of 'data.classes'": not result.scores.fits(len(result.data.classes)),
        "'data.label_counts' names no device": not counts or not result.data.classes,
        "'rounds' is empty": not result.rounds,
        "'rounds' must count from 1": [record.round for record in result.rounds] != [*range(1, len(result.rounds) + 1)],
        f"'ledger' must have {' and '.join(DIRECTIONS)} for each kind": any(
            set(row) != set(DIRECTIONS) for row in (*result.ledger.values(), result.retransmitted_bytes)
        ),
        "'timeline' must hold [actor, kind, start, end]": not all(map(_is_span, spans)),
    }


def _is_span(span: list[Any]) -> bool:
    actor, times = str(span[0]) if span and isinstance(span[0], str | int) else "", span[2:]
    if actor != "server" and not (actor.isdecimal() and len(actor) < 20):
        return False
    return (
        len(span) == 4
        and isinstance(span[1], str)
        and all(isinstance(t, int | float) and 0 <= t < 1e30 for t in times)
        and times[0] <= times[1]
    )


def _check_settings(values: dict[str, Any], file: Path) -> None:
    """Settings that this version knows must be possible; others may be an older or a newer version's."""
    known: dict[str, Any] = {}
    sections = section_types()
    for key, value in values.items():
        if key not in sections:
            known |= {key: value} if key in all_keys() else {}
        elif isinstance(value, dict):
            known[key] = {name: inner for name, inner in value.items() if f"{key}.{name}" in all_keys()}
        else:
            raise EcoFedError(f"{file}: 'config.{key}' must be an object")
    if values.get(PLUGINS):  # of plug-ins that are not loaded: what they did can be looked at all the same
        if known.get("method") not in all_methods():
            known["method"] = Config.method
        if known.get("codec", {}).get("name") not in codec_names():
            known.pop("codec", None)
    try:
        Config.from_dict(known)
    except ConfigError as error:
        raise EcoFedError(f"{file}: config: {error}") from error


def write_summary(comparison: Comparison, folder: str | Path, places: Sequence[str] | None = None) -> Path:
    """Write ``summary.json``, and each run's ``result.json`` in its own of ``places`` inside the folder; default:
    ``comparison.folders()``."""
    places = comparison.folders() if places is None else places
    for result, name in zip(comparison.results, places, strict=True):
        write_result(result, Path(folder) / name)
    # Last, so that a summary never names a result that is not there.
    return write_json(Path(folder) / SUMMARY_FILE, comparison.to_dict(places))


def read_summary(path: str | Path) -> Comparison:
    """Read a comparison's folder, or its ``summary.json``.

    Raises:
        EcoFedError: as :func:`read_result`, for the summary or one of the results that it names.
    """
    path = Path(path)
    file = path / SUMMARY_FILE if os.path.isdir(path) else path
    values = read_file(file, SUMMARY_SCHEMA)
    runs = values.get("runs")
    if not isinstance(runs, list) or not runs:
        raise EcoFedError(f"{file}: 'runs' must name at least one result")
    results = []
    for run in runs:
        place = run.get("result") if isinstance(run, dict) else None
        if not isinstance(place, str) or PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise EcoFedError(f"{file}: 'runs' must hold paths inside this folder, not {place!r}")
        results.append(read_result(file.parent / place))
    command = _read_as(str, values.get("command", ""), "command", file)
    notes = _read_as(list[str], values.get("notes", []), "notes", file)
    return Comparison(results=results, command=command, notes=notes)


def read_file(file: Path, schema: str) -> dict[str, Any]:
    """The values of a JSON file of this schema. Raises :class:`EcoFedError`."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise EcoFedError(f"{file}: larger than {MAX_BYTES >> 20} MiB, which no result is")
        values = parse(content_of(file))
    except FileNotFoundError:
        raise EcoFedError(
            f"{file}: no such file; is this a folder that 'ecofed run' or 'ecofed compare' wrote?"
        ) from None
    except OSError as error:
        raise EcoFedError(f"{file}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise EcoFedError(f"{file}: {error}") from error
    found = values.get("schema") if isinstance(values, dict) else None
    if found != schema:
        raise EcoFedError(f"{file}: its schema is {found!r}, this version of ecofed reads '{schema}'")
    return typing.cast(dict[str, Any], values)


def _read_as(hint: Any, values: object, path: str, file: Path) -> Any:
    try:
        return read_as(hint, values, path)
    except ValueError as error:
        raise EcoFedError(f"{file}: {error}") from error
