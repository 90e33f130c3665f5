"""Pictures that stay on the disk: training on ten thousand photographs takes no more memory than on a hundred.

Rows are read where they are needed. They are not mapped into memory, so that what a process takes is what it holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from typing import BinaryIO

import numpy as np

from ecofed.errors import StorageError

ROWS_AT_ONCE = 64


class RowFile:
    """A file that is open as long as somebody reads from it, whatever becomes of its name."""

    def __init__(self, stream: BinaryIO) -> None:
        """Takes the place of ``stream``, which is closed."""
        with stream:
            stream.flush()
            self._descriptor = os.dup(stream.fileno())

    def read_into(self, row: memoryview, at: int) -> bool:
        """Fill ``row`` with the bytes at this place; whether there are as many."""
        return os.preadv(self._descriptor, [row], at) == row.nbytes

    def __del__(self) -> None:
        os.close(self._descriptor)


class StoredImages:
    """uint8 images (N, H, W, C) in an open file, row after row. Stands for an array where rows are asked for."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self, file: RowFile, shape_HWC: tuple[int, int, int], rows_N: np.ndarray, *, coloured: bool = False
    ) -> None:
        """``rows_N``: which rows of the file, in this order. ``coloured``: grey rows are given as three channels."""
        self._file, self._stored_HWC, self._rows_N, self._coloured = file, shape_HWC, rows_N, coloured

    @property
    def shape(self) -> tuple[int, int, int, int]:
        height, width, channels = self._stored_HWC
        return len(self._rows_N), height, width, 3 if self._coloured else channels

    def __len__(self) -> int:
        return len(self._rows_N)

    def __iter__(self) -> Iterator[np.ndarray]:
        for _, images_BHWC in chunks(self):
            yield from images_BHWC

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray:
        """These rows in memory, as indexing of an array would give them."""
        rows = self._rows_N[which]
        if rows.ndim == 0:
            only: np.ndarray = self._read(rows[None])[0]
            return only
        return self._read(rows)

    def part(self, which_M: np.ndarray) -> StoredImages:
        """These rows, still on the disk."""
        return StoredImages(self._file, self._stored_HWC, self._rows_N[which_M], coloured=self._coloured)

    def as_colour(self) -> StoredImages:
        """With three channels."""
        grey = self._stored_HWC[2] == 1
        return StoredImages(self._file, self._stored_HWC, self._rows_N, coloured=grey)

    def _read(self, rows_M: np.ndarray) -> np.ndarray:
        size = int(np.prod(self._stored_HWC))
        images_MHWC = np.empty((len(rows_M), *self._stored_HWC), np.uint8)
        for row_HWC, at in zip(images_MHWC, rows_M.tolist(), strict=True):
            if not self._file.read_into(row_HWC.data, at * size):
                raise StorageError("decoded pictures have become shorter while they were in use; start again")
        return np.repeat(images_MHWC, 3, axis=3) if self._coloured else images_MHWC


ImageRows = np.ndarray | StoredImages
"""(N, H, W, C) uint8: in memory or on the disk."""


def part_of(images_NHWC: ImageRows, which_M: np.ndarray) -> ImageRows:
    """These rows: in memory a copy, on the disk another view."""
    return images_NHWC.part(which_M) if isinstance(images_NHWC, StoredImages) else images_NHWC[which_M]


def chunks(images_NHWC: ImageRows, size: int = ROWS_AT_ONCE) -> Iterator[tuple[slice, np.ndarray]]:
    """All rows, some at a time, with where they stand."""
    for at in range(0, len(images_NHWC), size):
        where = slice(at, min(at + size, len(images_NHWC)))
        yield where, images_NHWC[where]


def digest_of(images_NHWC: ImageRows) -> str:
    """Of all pixels."""
    digest = blake2b(repr(images_NHWC.shape).encode(), digest_size=20)
    for _, images_BHWC in chunks(images_NHWC):
        digest.update(np.ascontiguousarray(images_BHWC).data)
    return digest.hexdigest()
