"""The replay buffer on disk: one file an upload, memory-mapped, so that it may be far larger than memory.

A file (little-endian): a header of 48 bytes (magic ``EcoV``, checksum (u32) of everything after it, version (u8), three
zero bytes, whether rows have scales (u32), device, view, samples, bytes a row (u64 each)), then the rows, their scales
(float32), sample numbers (int64) and labels (int64). Only rows stay on disk; the rest is 20 bytes a sample.

Files are written once and never changed. What counts is a table of device, view and checksum of each upload, which
also make its file's name. It grows in a file of its own, and a checkpoint says how far it counts. So a checkpoint
writes what is new, however much there is; and a process that is killed at any moment leaves the files of its last
checkpoint as they were, and perhaps some that the table does not name, which are removed later.
"""

from __future__ import annotations

import mmap
import struct
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ecofed.activations.buffer import ReplayBuffer, View
from ecofed.activations.sealed_rows import SealedRows, sealed_length, sealed_parts
from ecofed.config.methods import EcoFedConfig
from ecofed.errors import CheckpointError, ConfigError
from ecofed.files.disk import flush, flush_folder, remove_unfinished, writing
from ecofed.files.growing import GrowingTable
from ecofed.files.reading import content_of, opened
from ecofed.files.sealing import Seal, seal_if

#: Where in a run's folder the buffer lies.
BUFFER_FOLDER = "buffer"

_HEAD = struct.Struct("<4sI")
_REST = struct.Struct("<B3sIQQQQ")
_MAGIC, _SEALED, _VERSION = b"EcoV", b"EcoS", 1
_SUFFIX = ".view"
_TABLE = "uploads.table"
#: So many files are mapped at a time: each takes a descriptor, of which a process may have a thousand or so.
_MOST_MAPS = 256
_ROWS_AT = _HEAD.size + _REST.size
Content: TypeAlias = "mmap.mmap | bytes"
"""Of a file."""
#: A row that is read brings at most so much of its file into memory (Linux maps what lies around a page, too).
_TOUCHED_BYTES = 1 << 16


class Budget:
    """How much of the files may be in memory: counted generously, and dropped when it is used up. Several threads may
    read at the same time."""

    def __init__(self, limit_bytes: int) -> None:
        self._lock = threading.Lock()
        self._limit = limit_bytes
        self._used = 0
        self._maps: dict[Path, mmap.mmap] = {}

    def content(self, path: Path) -> mmap.mmap:
        """A file, mapped; unmapped when others have taken its place and nobody uses it any more."""
        with self._lock:
            mapped = self._maps.get(path)
            if mapped is None:
                if len(self._maps) == _MOST_MAPS:
                    del self._maps[next(iter(self._maps))]
                with opened(path) as file:
                    mapped = self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return mapped

    def forget(self, path: Path) -> None:
        """Of a file that is of no use any more, or was written anew."""
        with self._lock:
            self._maps.pop(path, None)

    def touch(self, count: int) -> None:
        """``count`` bytes are about to be read, or have been."""
        with self._lock:
            self._used += count
            if self._used > self._limit:
                self._used = 0
                if hasattr(mmap, "MADV_DONTNEED"):
                    for mapped in self._maps.values():
                        mapped.madvise(mmap.MADV_DONTNEED)


class StoredRows:
    """Rows of one upload, in its file."""

    __slots__ = ("_buffer", "_name", "shape")
    dtype = np.dtype(np.uint8)

    def __init__(self, buffer: DiskBuffer, name: str, shape: tuple[int, int]) -> None:
        self._buffer, self._name, self.shape = buffer, name, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows_B: np.ndarray) -> np.ndarray:
        """Rows with these numbers, uint8 (B, row_bytes), in memory."""
        return self._buffer.read(self._name, self.shape, rows_B)


class DiskBuffer(ReplayBuffer):
    """A replay buffer whose rows lie in a folder.

    Args:
        folder: of this buffer alone; made with the first upload.
        memory_bytes: how much of the files may be in memory at a time.
        cure: what to do about a damaged file.
        seal: with which new files are encrypted; those that are there say themselves whether they are.
    """

    def __init__(
        self,
        front_id: str,
        views_kept: int | None,
        folder: Path,
        memory_bytes: int,
        cure: str = "delete the run's folder to start it again",
        seal: Seal | None = None,
    ) -> None:
        super().__init__(front_id, views_kept)
        self._seal = seal
        self._cure = cure
        self.folder: Path = folder
        self._budget = Budget(memory_bytes)
        self._table = GrowingTable(3, folder / _TABLE)
        self._names: dict[tuple[int, int], str] = {}
        self._unflushed: set[str] = set()
        self._outdated: set[str] = set()
        """Files that are of no use since the last :meth:`save`: the checkpoint on disk may name them."""
        self._useless: set[str] = set()
        """Files that were of no use before it."""
        self._swept = False

    def _kept(self, device: int, view: int, content: View) -> View:
        rows = np.ascontiguousarray(content.rows)
        fields = (content.scale_N.astype("<f4"), content.sample_N.astype("<i8"), content.labels_N.astype("<i8"))
        rest = _REST.pack(_VERSION, bytes(3), len(content.scale_N) > 0, device, view, *rows.shape)
        others = [field.tobytes() for field in fields]
        parts: list[bytes | memoryview]
        if self._seal is not None:
            parts = [rest, *sealed_parts(self._seal, rest, rows, b"".join(others))]
        else:
            parts = [rest, rows.data if rows.size else b"", *others]
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        name = f"{device}-{view}-{checksum:08x}{_SUFFIX}"
        with writing(self.folder / name, durable=False) as file:  # flushed when an index is to name it
            file.writelines([_HEAD.pack(_MAGIC if self._seal is None else _SEALED, checksum), *parts])
        self._budget.forget(self.folder / name)
        self._name(device, view, name)
        self._unflushed.add(name)
        self._table.add(device, view, checksum)
        scale_N, sample_N, labels_N = fields
        return View(
            rows=StoredRows(self, name, (len(rows), rows.shape[1])),
            scale_N=scale_N.astype(np.float32),
            sample_N=sample_N.astype(np.int64),
            labels_N=labels_N.astype(np.int64),
        )

    def remove(self, device: int, view: int | None = None) -> None:
        """As in memory. The table of uploads does not say so: for a buffer that is kept by its :attr:`index`."""
        for number in [view] if view is not None else list(self._views[device]):
            super().remove(device, number)
            self._name(device, number, None)

    def _name(self, device: int, view: int, name: str | None) -> None:
        """Which file is an upload's; another one that was is outdated."""
        before = self._names.pop((device, view), None)
        if before is not None:
            self._outdated.add(before)
        if name is not None:
            self._names[device, view] = name
            self._outdated.discard(name)
            self._useless.discard(name)

    def save(self) -> None:
        """Have the files of all uploads reach the disk, and remove those that neither the uploads since the last time
        nor those before it need."""
        for name in sorted(self._unflushed - self._outdated):
            flush(self.folder / name)
        if self._unflushed:
            flush_folder(self.folder)
        self._unflushed = set()
        if not self._swept:  # what was left by a process that was killed
            self._swept = True
            remove_unfinished(self.folder)
            needed = {*self._names.values(), *self._outdated}
            self._useless |= {path.name for path in self.folder.glob(f"*{_SUFFIX}")} - needed
        for name in self._useless:
            self._budget.forget(self.folder / name)
            (self.folder / name).unlink(missing_ok=True)
        self._outdated, self._useless = set(), self._outdated

    def state(self) -> dict[str, np.ndarray]:
        """How far the table of uploads counts, whose files have all reached the disk."""
        self.save()
        return {"uploads": self._table.save()}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Open and check the files of all uploads that count.

        Raises:
            CheckpointError: one is missing or damaged, or the table is.
        """
        try:
            self._table.load(arrays["uploads"])
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.folder / _TABLE}: damaged ({_reason(error)}); {self._cure}") from error
        latest: dict[int, dict[int, int]] = {}
        for device, view, checksum in self._table:
            kept = latest.setdefault(device, {})
            kept[view] = checksum
            while self.views_kept is not None and len(kept) > self.views_kept:
                del kept[min(kept)]
        self.open_files((device, view, checksum) for device, kept in latest.items() for view, checksum in kept.items())

    @property
    def index(self) -> np.ndarray:
        """Device, view and checksum of each upload that is there: (uploads, 3), int64, ascending."""
        entries = [(*key, int(name.removesuffix(_SUFFIX).split("-")[2], 16)) for key, name in self._names.items()]
        return np.array(sorted(entries), np.int64).reshape(-1, 3)

    def open_files(self, index: Iterable[Sequence[int]]) -> None:
        """Have the content be that of these files, which are checked; errors as for :meth:`load_state`."""
        self._names = {(device, view): f"{device}-{view}-{checksum:08x}{_SUFFIX}" for device, view, checksum in index}
        self._replace({key: self._checked(name, *key) for key, name in self._names.items()})

    @property
    def files(self) -> dict[tuple[int, int], Path]:
        """The file of each upload, by device and view."""
        return {key: self.folder / name for key, name in sorted(self._names.items())}

    def read(self, name: str, shape: tuple[int, int], rows_B: np.ndarray) -> np.ndarray:
        """Some rows of a file."""
        self._budget.touch(len(rows_B) * _TOUCHED_BYTES)
        path = self.folder / name
        try:
            content = self._budget.content(path)
            rows = _rows(content, shape, self._opening(path, content))
            return np.asarray(rows[np.asarray(rows_B)])
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged ({_reason(error)}); {self._cure}") from error

    def _checked(self, name: str, device: int, view: int) -> View:
        path = f"{self.folder}/{name}"  # a start checks every one: a Path each costs a second in a hundred thousand
        try:
            content = content_of(path)
            stored = _read(content, f"{device}-{view}-", name, self._opening(path, content))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged ({_reason(error)}); {self._cure}") from error
        rows = StoredRows(self, name, (len(stored), _row_bytes(content)))
        return View(rows=rows, scale_N=stored.scale_N, sample_N=stored.sample_N, labels_N=stored.labels_N)

    def _opening(self, path: Path | str, content: Content) -> tuple[Seal, str] | None:
        """With what a file is opened that is encrypted, and what it is called."""
        if content[: len(_SEALED)] != _SEALED:
            return None
        if self._seal is None:
            self._seal = Seal.at_hand(f"{path}")
        return self._seal, f"{path}"


def configured_buffer(
    settings: EcoFedConfig, front_id: str, run_folder: Path | None, *, sealed: bool = False
) -> ReplayBuffer:
    """The buffer that ``ecofed.buffer`` names; ``sealed``: its files are encrypted.

    Raises:
        ConfigError: it is on disk, and the run has no folder.
    """
    bounded = settings.views or settings.uplink_budget_bytes
    views_kept = None if bounded else 1
    if settings.buffer == "memory":
        return ReplayBuffer(front_id, views_kept)
    if run_folder is None:
        raise ConfigError("ecofed.buffer = 'disk': the buffer lies in the run's folder; choose one with --out")
    return DiskBuffer(front_id, views_kept, run_folder / BUFFER_FOLDER, settings.buffer_bytes, seal=seal_if(sealed))


def _read(content: bytes, prefix: str, name: str, sealed: tuple[Seal, str] | None) -> View:
    """A file as a view whose rows are in ``content``.

    Args:
        content: the file.
        prefix: how its name begins.
        name: all of it, with the checksum.
        sealed: with what it is opened where it is encrypted, and what an error calls it.

    Raises:
        ValueError: it is not such a file.
    """
    if len(content) < _ROWS_AT:
        raise ValueError("it is cut off" if content else "it is empty")
    magic, checksum = _HEAD.unpack_from(content)
    version, _, has_scales, device, view, samples, row_bytes = _REST.unpack_from(content, _HEAD.size)
    if (magic, version) != (_MAGIC if sealed is None else _SEALED, _VERSION) or f"{device}-{view}-" != prefix:
        raise ValueError("not the file of this upload")
    rest_bytes = samples * ((4 if has_scales else 0) + 16)
    follows = samples * row_bytes + rest_bytes if sealed is None else sealed_length(samples, row_bytes, rest_bytes)
    if len(content) != _ROWS_AT + follows:
        raise ValueError("its length is wrong")
    found = zlib.crc32(memoryview(content)[_HEAD.size :])
    if found != checksum or name != f"{prefix}{found:08x}{_SUFFIX}":
        raise ValueError("its checksum is wrong")
    rows = _rows(content, (samples, row_bytes), sealed)
    rest = rows.rest() if isinstance(rows, SealedRows) else content[_ROWS_AT + samples * row_bytes :]
    scale_N = np.frombuffer(rest, "<f4", samples if has_scales else 0).astype(np.float32)
    sample_N, labels_N = (np.frombuffer(rest, "<i8", samples, scale_N.nbytes + 8 * samples * part) for part in (0, 1))
    return View(rows=rows, scale_N=scale_N, sample_N=sample_N.astype(np.int64), labels_N=labels_N.astype(np.int64))


def _rows(content: Content, shape: tuple[int, int], sealed: tuple[Seal, str] | None) -> np.ndarray | SealedRows:
    """Of a file."""
    if sealed is None:
        return np.frombuffer(content, np.uint8, shape[0] * shape[1], _ROWS_AT).reshape(shape)
    seal, subject = sealed
    head = content[_HEAD.size : _ROWS_AT]
    return SealedRows(seal=seal, content=content, head=head, at=_ROWS_AT, shape=shape, subject=subject)


def _reason(error: OSError | ValueError) -> str:
    """In a line, which names the file already."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())


def _row_bytes(content: bytes) -> int:
    return int(_REST.unpack_from(content, _HEAD.size)[-1])
