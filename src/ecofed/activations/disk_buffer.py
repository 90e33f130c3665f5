"""The replay buffer on disk: one file an upload, memory-mapped, so that it may be far larger than memory.

A file (little-endian): a header of 48 bytes (magic ``EcoV``, checksum (u32) of everything after it, version (u8), three
zero bytes, whether rows have scales (u32), device, view, samples, bytes a row (u64 each)), then the rows, their scales
(float32), sample numbers (int64) and labels (int64). Only rows stay on disk; the rest is 20 bytes a sample.

Files are written once and never changed. What counts is the index that a checkpoint holds: device, view and checksum of
each file, which also make its name. So a process that is killed at any moment leaves the files of its last checkpoint
as they were, and perhaps some that no index names and that are removed later.
"""

from __future__ import annotations

import dataclasses
import mmap
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ecofed.activations.buffer import ReplayBuffer, Rows, View
from ecofed.activations.sealed_rows import SealedRows, sealed_length, sealed_parts
from ecofed.config.methods import EcoFedConfig
from ecofed.errors import CheckpointError, ConfigError
from ecofed.files.disk import flush, flush_folder, remove_unfinished, writing
from ecofed.files.sealing import Seal, seal_if

#: Where in a run's folder the buffer lies.
BUFFER_FOLDER = "buffer"

_HEAD = struct.Struct("<4sI")
_REST = struct.Struct("<B3sIQQQQ")
_MAGIC, _SEALED, _VERSION = b"EcoV", b"EcoS", 1
_SUFFIX = ".view"
#: A row that is read brings at most so much of its file into memory (Linux maps what lies around a page, too).
_TOUCHED_BYTES = 1 << 16


class Budget:
    """How much of the files may be in memory: counted generously, and dropped when it is used up."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._used = 0
        self._maps: dict[Path, mmap.mmap] = {}

    def open(self, path: Path) -> mmap.mmap:
        """Map a file; a budget that already has it maps it anew."""
        with path.open("rb") as file:
            self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]

    def forget(self, path: Path) -> None:
        """Of a file that is of no use any more."""
        self._maps.pop(path, None)  # unmapped when the last view of it is gone

    def touch(self, count: int) -> None:
        """``count`` bytes are about to be read, or have been."""
        self._used += count
        if self._used > self._limit:
            self._used = 0
            if hasattr(mmap, "MADV_DONTNEED"):
                for mapped in self._maps.values():
                    mapped.madvise(mmap.MADV_DONTNEED)


class StoredRows:
    """Rows of one view or several (each an array on disk), drawn as from one array."""

    def __init__(self, pieces: Sequence[Rows], budget: Budget) -> None:
        self.pieces = pieces
        self._ends = np.cumsum([len(piece) for piece in pieces])
        self._budget = budget

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, rows_B: np.ndarray) -> np.ndarray:
        """Rows with these numbers, uint8 (B, row_bytes), in memory."""
        self._budget.touch(len(rows_B) * _TOUCHED_BYTES)
        if not len(rows_B):
            return np.array(self.pieces[0][:0])
        piece_B = np.searchsorted(self._ends, rows_B, side="right")
        starts_B = np.concatenate([[0], self._ends])[piece_B]
        return np.stack([self.pieces[piece][row] for piece, row in zip(piece_B, rows_B - starts_B, strict=True)])


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
        self._folder = folder
        self._budget = Budget(memory_bytes)
        self._names: dict[tuple[int, int], str] = {}
        self._saved: frozenset[str] = frozenset()
        """Files that the last index named: the checkpoint on disk may be that one or the one before."""
        self._unflushed: set[str] = set()

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
        with writing(self._folder / name, durable=False) as file:  # flushed when an index is to name it
            file.writelines([_HEAD.pack(_MAGIC if self._seal is None else _SEALED, checksum), *parts])
        self._names[device, view] = name
        self._unflushed.add(name)
        return self._open(name, device, view, check=False)

    def _joined(self, pieces: Sequence[Rows]) -> Rows:
        return StoredRows(
            [part for piece in pieces if isinstance(piece, StoredRows) for part in piece.pieces], self._budget
        )

    def state(self) -> dict[str, np.ndarray]:
        """The index: (files, 3), int64: device, view, checksum. All files that it names have reached the disk."""
        present = {(device, view) for device, kept in self._views.items() for view in kept}
        self._names = {key: name for key, name in self._names.items() if key in present}
        names = frozenset(self._names.values())
        for name in sorted(self._unflushed & names):
            flush(self._folder / name)
        if self._unflushed:
            flush_folder(self._folder)
        self._unflushed = set()
        self._sweep(names | self._saved)
        self._saved = names
        entries = [(*key, int(name.removesuffix(_SUFFIX).split("-")[2], 16)) for key, name in self._names.items()]
        return {"index": np.array(sorted(entries), np.int64).reshape(-1, 3)}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Open and check the files of an index.

        Raises:
            CheckpointError: one is missing or damaged.
        """
        self._views, self._names = {}, {}
        for device, view, checksum in arrays["index"].tolist():
            name = f"{device}-{view}-{checksum:08x}{_SUFFIX}"
            self._views.setdefault(device, {})[view] = self._open(name, device, view, check=True)
            self._names[device, view] = name
        self._saved = frozenset(self._names.values())

    @property
    def files(self) -> dict[tuple[int, int], Path]:
        """The file of each upload, by device and view."""
        return {key: self._folder / name for key, name in sorted(self._names.items())}

    def _open(self, name: str, device: int, view: int, *, check: bool) -> View:
        path = self._folder / name
        try:
            content = self._budget.open(path)
            stored = _read(content, f"{device}-{view}-", name if check else None, self._opening(path, content))
        except (OSError, ValueError, struct.error) as error:
            raise CheckpointError(f"{path}: damaged ({' '.join(str(error).split())}); {self._cure}") from error
        self._budget.touch(len(content))
        return dataclasses.replace(stored, rows=StoredRows([stored.rows], self._budget))

    def _opening(self, path: Path, content: mmap.mmap) -> tuple[Seal, str] | None:
        """With what a file is opened that is encrypted, and what it is called."""
        if content[: len(_SEALED)] != _SEALED:
            return None
        if self._seal is None:
            self._seal = Seal.at_hand(f"{path}")
        return self._seal, f"{path}"

    def _sweep(self, names: frozenset[str]) -> None:
        """Remove files that neither this index nor the last names."""
        remove_unfinished(self._folder)
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path.name not in names:
                self._budget.forget(path)
                path.unlink(missing_ok=True)


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


def _read(content: mmap.mmap, prefix: str, name: str | None, sealed: tuple[Seal, str] | None) -> View:
    """A file as a view whose rows stay where they are; its checksum is compared with its ``name``, if given.

    ``sealed``: with what it is opened where it is encrypted, and what an error calls it.

    Raises:
        ValueError: it is not such a file.
    """
    magic, checksum = _HEAD.unpack_from(content)
    version, _, has_scales, device, view, samples, row_bytes = _REST.unpack_from(content, _HEAD.size)
    if (magic, version) != (_MAGIC if sealed is None else _SEALED, _VERSION) or f"{device}-{view}-" != prefix:
        raise ValueError("not the file of this upload")
    at = _HEAD.size + _REST.size
    rest_bytes = samples * ((4 if has_scales else 0) + 16)
    follows = samples * row_bytes + rest_bytes if sealed is None else sealed_length(samples, row_bytes, rest_bytes)
    if len(content) != at + follows:
        raise ValueError("its length is wrong")
    if name is not None:
        found = zlib.crc32(memoryview(content)[_HEAD.size :])
        if found != checksum or name != f"{prefix}{found:08x}{_SUFFIX}":
            raise ValueError("its checksum is wrong")
    rows: Rows
    rest: mmap.mmap | bytes
    if sealed is None:
        rows = np.frombuffer(content, np.uint8, samples * row_bytes, at).reshape(samples, row_bytes)
        rest, at = content, at + samples * row_bytes
    else:
        seal, subject = sealed
        head, shape = content[_HEAD.size : at], (samples, row_bytes)
        rows = SealedRows(seal=seal, content=content, head=head, at=at, shape=shape, subject=subject)
        rest, at = rows.rest(), 0
    scale_N = np.frombuffer(rest, "<f4", samples if has_scales else 0, at).astype(np.float32)
    at += scale_N.nbytes
    sample_N, labels_N = (np.frombuffer(rest, "<i8", samples, at + 8 * samples * part) for part in (0, 1))
    return View(rows=rows, scale_N=scale_N, sample_N=sample_N.astype(np.int64), labels_N=labels_N.astype(np.int64))
