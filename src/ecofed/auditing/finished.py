"""Steps of an audit that are finished, each a file with a checksum, so that none is made twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ecofed.auditing.steps import Finished
from ecofed.auditing.target import Target
from ecofed.errors import CheckpointError
from ecofed.files.disk import json_text, remove_unfinished, write_bytes, write_json
from ecofed.files.json_values import parse, read_as
from ecofed.files.tensor_files import pack, unpack
from ecofed.reports.files import read_file
from ecofed.results.audits import Leak
from ecofed.runs.kept_buffer import INDEX_FILE, KEPT_FOLDER
from ecofed.runs.run_folder import MODEL_FILE

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STEPS_FOLDER = "steps"
_SCHEMA = "ecofed-audit-step/1"
_CURE = "delete it to make this step again"
_OTHER = "of an audit with other settings, or of a run that has changed; choose another --out"

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The JSON beside a step's pictures."""

    schema: str
    key: str
    row: Leak


def key_of(target: Target, **settings: Any) -> str:
    """A fingerprint of what is attacked and how: a step of another one is not continued."""
    known = {
        "config": target.config.to_dict(),
        "inputs": target.prepared.inputs,
        "run": False if target.run is None else _held_by(target.run),
        "settings": settings,
    }
    return sha256(json_text(known, sort_keys=True).encode()).hexdigest()


def _held_by(run: Path) -> list[str]:
    """Fingerprints of what is asked who took part: the index of the kept buffer, which has a checksum of each upload,
    and the network. Another run, or a deletion, can leave all settings as they were."""
    files = [run / KEPT_FOLDER / INDEX_FILE, run / MODEL_FILE]
    return [sha256(file.read_bytes()).hexdigest() if file.is_file() else "none" for file in files]


class FinishedSteps:
    """Those in a folder, which the caller owns."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        folder.mkdir(exist_ok=True)
        remove_unfinished(folder)

    def step(self, name: str, make: Callable[[], Finished]) -> Finished:
        """The step of that name as it was finished, or made now and written.

        Raises:
            CheckpointError: it is damaged, or of another audit.
        """
        file = self._folder / f"{name}.safetensors"
        if file.exists():
            return self._read(file)
        made = make()
        described = {"schema": _SCHEMA, "key": self._key, "row": dataclasses.asdict(made.row)}
        write_bytes(file, pack({"shown": made.shown_NHWC}, json_text(described)))
        return made

    def found(self, name: str, cls: type[T], make: Callable[[], T]) -> T:
        """The same of a record without pictures, a dataclass."""
        file = self._folder / f"{name}.json"
        if not file.exists():
            made = make()
            write_json(file, {"schema": _SCHEMA, "key": self._key, "found": dataclasses.asdict(made)})
            return made
        try:
            values = read_file(file, _SCHEMA)
            if values.get("key") != self._key:
                raise CheckpointError(f"{file}: {_OTHER}")
            found: T = read_as(cls, values.get("found"), "found")
        except ValueError as error:
            raise CheckpointError(f"{file}: damaged ({error}); {_CURE}") from error
        return found

    def _read(self, file: Path) -> Finished:
        try:
            found = unpack(file)
            said: _Description = read_as(_Description, parse(found.description))
            shown = found.arrays["shown"]
            if said.schema != _SCHEMA or not found.has_checksum or shown.dtype != np.uint8 or shown.ndim != 4:
                raise ValueError("is not a step of an audit")
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(f"{file}: damaged ({error}); {_CURE}") from error
        if said.key != self._key:
            raise CheckpointError(f"{file}: {_OTHER}")
        return Finished(row=said.row, shown_NHWC=shown)
