"""Results on disk: ``result.json`` (one run) and ``summary.json`` plus one folder a run (a comparison).

Files are written whole or not at all. What is read is checked field by field, because a report may be asked for
any folder; every failure is one :class:`~ecofed.errors.EcoFedError` that names the file.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from pathlib import Path, PurePosixPath
from typing import Any

from ecofed.errors import EcoFedError
from ecofed.files import json_text, write_json
from ecofed.results import SCHEMA, SUMMARY_SCHEMA, Comparison, RunResult

RESULT_FILE = "result.json"
SUMMARY_FILE = "summary.json"


def write_result(result: RunResult, folder: str | Path) -> Path:
    """Write ``result.json`` into a folder, which is made if need be. Returns the file's path."""
    return write_json(Path(folder) / RESULT_FILE, result.to_dict())


def read_result(path: str | Path) -> RunResult:
    """Read a ``result.json``, or the one in a folder.

    Raises:
        EcoFedError: the file is missing, unreadable, of another schema, or a field is missing or of a wrong type.
    """
    path = Path(path)
    file = path / RESULT_FILE if path.is_dir() else path
    values = _read_json(file, SCHEMA)
    _check(RunResult, values, "", file)
    result = RunResult.from_dict(values)
    if any(len(row) != len(result.data.classes) for row in result.data.label_counts):
        raise EcoFedError(f"{file}: data.label_counts does not have one count for each of data.classes")
    return result


def write_summary(comparison: Comparison, folder: str | Path) -> Path:
    """Write ``summary.json``, and each run's ``result.json`` in its own of ``comparison.folders()``."""
    for result, name in zip(comparison.results, comparison.folders(), strict=True):
        write_result(result, Path(folder) / name)
    # Last, so that a summary never names a result that is not there.
    return write_json(Path(folder) / SUMMARY_FILE, comparison.to_dict())


def read_summary(path: str | Path) -> Comparison:
    """Read a comparison's folder, or its ``summary.json``.

    Raises:
        EcoFedError: as :func:`read_result`, for the summary or one of the results that it names.
    """
    path = Path(path)
    file = path / SUMMARY_FILE if path.is_dir() else path
    values = _read_json(file, SUMMARY_SCHEMA)
    runs = values.get("runs")
    if not isinstance(runs, list) or not runs:
        raise EcoFedError(f"{file}: 'runs' must name at least one result")
    results = []
    for run in runs:
        place = run.get("result") if isinstance(run, dict) else None
        if not isinstance(place, str) or PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            raise EcoFedError(f"{file}: 'runs' must hold paths inside this folder, not {place!r}")
        results.append(read_result(file.parent / place))
    command, notes = values.get("command", ""), values.get("notes", [])
    _check(str, command, "command", file)
    _check(list[str], notes, "notes", file)
    return Comparison(results=results, command=command, notes=notes)


def load(folder: str | Path) -> Comparison | RunResult:
    """Whatever a folder holds: a comparison, or one run.

    Raises:
        EcoFedError: it holds neither, or holds it malformed.
    """
    path = Path(folder)
    if path.is_file():
        return read_summary(path) if path.name == SUMMARY_FILE else read_result(path)
    if (path / SUMMARY_FILE).is_file():
        return read_summary(path)
    if (path / RESULT_FILE).is_file():
        return read_result(path)
    raise EcoFedError(
        f"{path}: holds neither {SUMMARY_FILE} nor {RESULT_FILE}; "
        "give the folder that 'ecofed run' or 'ecofed compare' wrote with --out"
    )


def _read_json(file: Path, schema: str) -> dict[str, Any]:
    try:
        values = json.loads(file.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError:
        raise EcoFedError(
            f"{file}: no such file; is this a folder that 'ecofed run' or 'ecofed compare' wrote?"
        ) from None
    except OSError as error:
        raise EcoFedError(f"{file}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise EcoFedError(f"{file}: not valid JSON ({error})") from error
    found = values.get("schema") if isinstance(values, dict) else None
    if found != schema:
        raise EcoFedError(f"{file}: its schema is {found!r}, this version of ecofed reads '{schema}'")
    return typing.cast(dict[str, Any], values)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check(hint: Any, value: object, where: str, file: Path) -> None:
    """Raise unless a JSON value has the shape of a type: dataclass, list, dict, optional or plain."""
    if dataclasses.is_dataclass(hint):
        _check_fields(hint, value, where, file)
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is not None:
            _check(arguments[0], value, where, file)
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            _check(arguments[0], item, f"{where}[{index}]", file)
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            _check(arguments[1], item, f"{where}.{key}", file)
    elif hint is not Any and not _is_plain(hint, value):
        name = getattr(hint, "__name__", str(hint))
        raise EcoFedError(f"{file}: '{where}' must be of type {name}, not {json_text(value)[:60]}")


def _check_fields(hint: Any, value: object, where: str, file: Path) -> None:
    place = f"'{where}'" if where else "the file"
    if not isinstance(value, dict):
        raise EcoFedError(f"{file}: {place} must be an object")
    fields = {field.name: field for field in dataclasses.fields(hint)}
    if unknown := sorted(set(value) - set(fields)):
        raise EcoFedError(f"{file}: {place} has an unknown field '{unknown[0]}'")
    hints = typing.get_type_hints(hint)
    for name, field in fields.items():
        if name in value:
            _check(hints[name], value[name], f"{where}.{name}" if where else name, file)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise EcoFedError(f"{file}: {place} lacks the field '{name}'")


def _is_plain(hint: Any, value: object) -> bool:
    if hint is float:  # 1e999 is legal JSON and infinite in Python
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint)
