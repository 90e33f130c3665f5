"""A table of whole numbers that only grows: what a checkpoint says of it has the same size however long it is.

Its rows lie in a file of their own, to which :meth:`GrowingTable.save` adds what is new; the checkpoint holds how many
count, and their checksum. Rows that a process wrote before it was killed and that no checkpoint names are cut off.
Without a file the whole table is in the checkpoint.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecofed.files.disk import append_at, flush_folder
from ecofed.files.reading import opened


class GrowingTable:
    """Rows of so many int64 columns, little-endian in the file."""

    def __init__(self, columns: int, path: Path | None = None) -> None:
        self._columns, self._path = columns, path
        self._values = array("q")
        self._in_file = self._checksum = 0
        """Values in the file that count, and the checksum (CRC-32) of their bytes."""

    def __len__(self) -> int:
        return len(self._values) // self._columns

    def __iter__(self) -> Iterator[list[int]]:
        """Row after row."""
        return iter(self._rows().tolist())

    def add(self, *row: int) -> None:
        """A row at the end."""
        self._values.extend(row)

    def save(self) -> np.ndarray:
        """What a checkpoint holds: the table, (N, columns); of one in a file N and its checksum, (2,). int64.

        Raises:
            StorageError: there is no room.
        """
        if self._path is None:
            return self._rows()
        new = np.array(self._values[self._in_file :], "<i8").tobytes()
        if new:
            append_at(self._path, 8 * self._in_file, new)
            if not self._in_file:
                flush_folder(self._path.parent)
            self._checksum = zlib.crc32(new, self._checksum)
            self._in_file = len(self._values)
        return np.array([len(self), self._checksum], np.int64)

    def load(self, saved: np.ndarray) -> None:
        """Inverse of :meth:`save`.

        Raises:
            ValueError: it is no such array, or the file is damaged. OSError: it cannot be read.
        """
        expected = (2,) if self._path is not None else (*saved.shape[:1], self._columns)
        if saved.dtype != np.int64 or saved.shape != expected:
            raise ValueError(f"a table of {self._columns} columns is {saved.dtype} {saved.shape}")
        if self._path is None:
            self._values = array("q", saved.reshape(-1).tobytes())
            return
        count, checksum = saved.tolist()
        content = b""
        if count:
            with opened(self._path) as file:
                content = file.read(8 * self._columns * count)
        if len(content) != 8 * self._columns * count or zlib.crc32(content) != checksum:
            raise ValueError(f"{self._path} is damaged")
        self._values = array("q", np.frombuffer(content, "<i8").astype(np.int64).tobytes())
        self._in_file, self._checksum = len(self._values), checksum

    def _rows(self) -> np.ndarray:
        return np.array(self._values, np.int64).reshape(-1, self._columns)
