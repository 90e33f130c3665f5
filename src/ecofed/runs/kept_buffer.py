"""The buffer of a finished run, kept so that the server can learn again without asking any device. Without PyTorch.

A folder ``kept`` in the run's: one file an upload, as a buffer on disk has them
(:mod:`ecofed.activations.disk_buffer`), and ``index.safetensors``, which says which files count and what made them: the
run's task, the front's bundle, class names, rounds, fingerprints. Every file has a checksum. The index is replaced
atomically and last, so a process that is killed at any moment leaves one whole buffer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ecofed.activations import DiskBuffer, View
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.errors import CheckpointError, ConfigError, EcoFedError, PluginError
from ecofed.files.disk import json_text, remove_unfinished, write_bytes
from ecofed.files.json_values import Count, Within, parse, read_as
from ecofed.files.reading import content_of
from ecofed.files.sealing import seal_if
from ecofed.files.tensor_files import pack, unpack
from ecofed.wire import FrontBundle

KEPT_FOLDER, INDEX_FILE = "kept", "index.safetensors"
#: In a run's folder: a deletion that is under way, and those that were carried out.
DELETION_FILE, FORGOTTEN_FILE = "forgetting.json", "forgotten.json"
SCHEMA = "ecofed-kept-buffer/1"
_CURE = "a kept buffer cannot be made again; bring it back from a copy, or run anew"
#: Digits of a fingerprint.
_DIGITS = 32


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a kept buffer says of itself, besides what it holds."""

    task: Task
    """Of the run that collected it."""
    classes: list[str]
    front_id: str
    """Of the front as devices ran it."""
    bundle: FrontBundle
    rounds: Mapping[tuple[int, int], int]
    """In which round each (device, view) came; 0 where that is not known."""
    sent: Mapping[int, tuple[int, int]]
    """How many views each device ever uploaded, and their bytes; views that were replaced are counted."""
    seen: Mapping[int, int] = field(default_factory=dict)
    """How many samples each device has offered so far; those from this number on are new."""
    before: int = 0
    """Rounds of earlier runs, whose buffer this one continues."""
    idle: list[int]
    """Rounds in which the run trained nothing: too few devices answered."""
    empty: list[int] = field(default_factory=list)
    """Rounds in which a device answered that has no samples: it is not in the buffer, and yet was asked."""
    inputs: Mapping[str, str]
    """Fingerprints of what the run read."""
    forgotten: Mapping[int, list[int]] = field(default_factory=dict)
    """Devices whose uploads were deleted: which samples; none named: everything, and they are never asked again."""


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The JSON in the index."""

    schema: str
    task: str
    classes: list[str]
    front_id: str
    rounds: list[tuple[Count, Count, Annotated[int, Within(0, 2**53)]]]
    sent: list[tuple[Count, Count, Count]]
    seen: list[tuple[Count, Count]] = field(default_factory=list)
    before: Count = 0
    idle: list[Count]
    empty: list[Count] = field(default_factory=list)
    inputs: dict[str, str]
    forgotten: list[tuple[Count, list[Count]]]


class KeptBuffer:
    """An opened buffer of a run's folder."""

    def __init__(self, run: Path, buffer: DiskBuffer, origin: Origin) -> None:
        self.run = run
        self.buffer = buffer
        self.origin = origin
        self._opened = dict(origin.forgotten)

    @property
    def config(self) -> Config:
        """Of the run that collected it."""
        return self.origin.task.config

    @property
    def bytes(self) -> int:
        """On disk, in files of uploads."""
        return sum(path.stat().st_size for path in self.buffer.files.values())

    def digest(self) -> str:
        """A fingerprint of everything that training depends on: front, and every upload's content and round."""
        found = sha256(f"{self.origin.front_id}\n".encode())
        for (device, view), path in self.buffer.files.items():
            content = sha256(content_of(path)).hexdigest()
            found.update(f"{device} {view} {self.origin.rounds.get((device, view), 0)} {content}\n".encode())
        return found.hexdigest()[:_DIGITS]

    def label_counts(self, device: int) -> np.ndarray:
        """How many different samples of each class the device's uploads have, int64 (K,)."""
        return self.buffer.label_counts(device, len(self.origin.classes))

    def check_kept(self) -> None:
        """Whoever learned from what was opened asks at the end whether its devices' uploads may still be learned from.

        Raises:
            EcoFedError: some were deleted since, or are being deleted.
        """
        under_way = (self.run / DELETION_FILE).exists()
        if not under_way and not (self.run / KEPT_FOLDER / INDEX_FILE).is_file():
            return  # moved or removed as a whole, which is no deletion that was asked for
        if under_way or dict(_read_index(self.run / KEPT_FOLDER)[0].forgotten) != self._opened:
            raise EcoFedError(
                f"{self.run}: uploads were deleted from it (ecofed forget) while this learned from them, so no result "
                "is written; delete the folder of --out, and start again"
            )

    def write_index(self) -> None:
        """Have the folder hold what the buffer does now. Files that the index on disk named stay until next time."""
        self.buffer.save()
        arrays = {"index": self.buffer.index, "front": np.frombuffer(self.origin.bundle.encode(), np.uint8)}
        write_bytes(self.run / KEPT_FOLDER / INDEX_FILE, pack(arrays, _described(self.origin, self.buffer)))


def new_buffer(run: Path, origin: Origin, views: Iterable[tuple[int, int, View]]) -> KeptBuffer:
    """Write a buffer into a run's folder: (device, view, content) of each upload.

    Raises:
        StorageError: there is no room.
    """
    config = origin.task.config
    memory_bytes, seal = config.ecofed.buffer_bytes, seal_if(config.encrypt_buffer)
    buffer = DiskBuffer(origin.front_id, None, run / KEPT_FOLDER, memory_bytes, cure=_CURE, seal=seal)
    for device, number, view in views:
        rows = np.asarray(view.rows[np.arange(len(view))])
        buffer.put(device, number, dataclasses.replace(view, rows=rows), origin.front_id)
    made = KeptBuffer(run, buffer, origin)
    made.write_index()
    return made


def open_buffer(run: str | Path, *, deleting: bool = False) -> KeptBuffer:
    """The buffer that a run's folder keeps; every file is checked.

    Args:
        run: its folder.
        deleting: by whoever deletes from it; for all others one from which something is half deleted does not exist.

    Raises:
        ConfigError: there is none. CheckpointError: it is damaged.
    """
    run = Path(run)
    folder = run / KEPT_FOLDER
    check_there(run)
    if not (folder / INDEX_FILE).is_file():
        raise ConfigError(
            f"{run} keeps no buffer; a run does with --set keep_buffer=true (over Flower it does so by itself)"
        )
    if not deleting and (run / DELETION_FILE).exists():
        raise ConfigError(f"{run}: a deletion was interrupted; 'ecofed forget {run} --resume' completes it first")
    if deleting:
        remove_unfinished(folder)
    origin, index = _read_index(folder)
    config = origin.task.config
    memory_bytes, seal = config.ecofed.buffer_bytes, seal_if(config.encrypt_buffer, f"{folder}")
    buffer = DiskBuffer(origin.front_id, None, folder, memory_bytes, cure=_CURE, seal=seal)
    buffer.open_files(index.tolist())
    _check(buffer, origin, folder)
    return KeptBuffer(run, buffer, origin)


def _read_index(folder: Path) -> tuple[Origin, np.ndarray]:
    """What a buffer says of itself, and (device, view, checksum) of each upload; errors as for :func:`open_buffer`."""
    try:
        packed = unpack(folder / INDEX_FILE)
        if not packed.has_checksum:
            raise ValueError("it has no checksum")
        said: _Description = read_as(_Description, parse(packed.description))
        if said.schema != SCHEMA:
            raise ValueError(f"its schema is {said.schema!r}, not {SCHEMA!r}")
        origin = _origin(said, packed.arrays)
        index = packed.arrays["index"]
        if index.dtype != np.int64 or index.ndim != 2 or index.shape[1] != 3:
            raise ValueError(f"'index' is {index.dtype} {index.shape}")
    except PluginError:
        raise
    except (OSError, ValueError, KeyError, EcoFedError) as error:
        raise CheckpointError(f"{folder / INDEX_FILE}: damaged ({error}); {_CURE}") from error
    return origin, index


def check_there(run: Path) -> None:
    """Raise :class:`ConfigError` where a run is named that does not exist."""
    if not run.is_dir():
        raise ConfigError(f"{run}: there is no such run; 'ecofed runs FOLDER' lists those that are in a folder")


def holds_buffer(run: Path) -> bool:
    """Whether a run's folder keeps one, whole or damaged."""
    return (run / KEPT_FOLDER / INDEX_FILE).is_file()


def _described(origin: Origin, buffer: DiskBuffer) -> str:
    present = buffer.files
    description: dict[str, Any] = {
        "schema": SCHEMA,
        "task": dataclasses.replace(origin.task, class_names=()).to_json(),  # the classes stand once in the file
        "classes": origin.classes,
        "front_id": origin.front_id,
        "rounds": [(*key, origin.rounds.get(key, 0)) for key in present],
        "sent": [(device, *sent) for device, sent in sorted(origin.sent.items())],
        "seen": sorted(origin.seen.items()),
        "before": origin.before,
        "idle": origin.idle,
        "empty": origin.empty,
        "inputs": dict(origin.inputs),
        "forgotten": sorted(origin.forgotten.items()),
    }
    return json_text(description)


def _origin(said: _Description, arrays: Mapping[str, np.ndarray]) -> Origin:
    task = Task.from_values(parse(said.task), "task")
    if task.classes != len(said.classes) or len(set(said.classes)) != task.classes:
        raise ValueError(f"'classes' must be {task.classes} different names")
    return Origin(
        task=dataclasses.replace(task, class_names=tuple(said.classes)),
        classes=said.classes,
        front_id=said.front_id,
        bundle=FrontBundle.decode(arrays["front"].tobytes()),
        rounds={(device, view): round_ for device, view, round_ in said.rounds},
        sent={device: (views, sent) for device, views, sent in said.sent},
        seen=dict(said.seen),
        before=said.before,
        idle=said.idle,
        empty=said.empty,
        inputs=said.inputs,
        forgotten=dict(said.forgotten),
    )


def _check(buffer: DiskBuffer, origin: Origin, folder: Path) -> None:
    """Uploads have checksums; here what no checksum tells."""
    lengths = set()
    for device in buffer.devices:
        for view in filter(len, buffer.views_of(device).values()):
            lengths.add(np.asarray(view.rows[np.arange(1)]).shape[1])
            if not 0 <= view.labels_N.min() <= view.labels_N.max() < len(origin.classes):
                raise CheckpointError(f"{folder}: device {device} has a label that no class has; {_CURE}")
    if len(lengths) > 1:
        raise CheckpointError(f"{folder}: its codes have {len(lengths)} lengths; {_CURE}")
