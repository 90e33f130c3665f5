"""Rows of an upload that lie on the disk encrypted, and are opened a piece at a time.

After a file's head: 8 drawn bytes, which begin the nonce of each piece; pieces of rows, each with its tag; then what is
not rows in a last piece. A piece's number ends its nonce, and the head is authenticated with each: no piece can be
moved, within a file or between two.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap

import numpy as np

from ecofed.files.sealing import TAG_BYTES, Seal

PREFIX_BYTES = 8
_PIECE_BYTES = 1 << 14
_LAST = 2**32 - 1


def rows_of_piece(row_bytes: int) -> int:
    """How many rows are sealed together."""
    return max(1, _PIECE_BYTES // max(1, row_bytes))


def sealed_length(samples: int, row_bytes: int, rest_bytes: int) -> int:
    """Bytes after a file's head."""
    pieces = -(-samples // rows_of_piece(row_bytes))
    return PREFIX_BYTES + samples * row_bytes + pieces * TAG_BYTES + rest_bytes + TAG_BYTES


def sealed_parts(seal: Seal, head: bytes, rows: np.ndarray, rest: bytes) -> Iterator[bytes]:
    """What follows a file's head: rows, uint8 (N, row_bytes), and the rest."""
    prefix = secrets.token_bytes(PREFIX_BYTES)
    yield prefix
    step = rows_of_piece(rows.shape[1])
    for number, at in enumerate(range(0, len(rows), step)):
        yield seal.seal(rows[at : at + step].tobytes(), head, prefix + number.to_bytes(4, "big"))
    yield seal.seal(rest, head, prefix + _LAST.to_bytes(4, "big"))


@dataclass(kw_only=True)
class SealedRows:
    """N rows, drawn as from an array; the last piece that was opened is remembered."""

    seal: Seal
    content: mmap | bytes
    head: bytes
    """Of the file, which is authenticated."""
    at: int
    """Where in the file what follows the head begins."""
    shape: tuple[int, int]
    """N, and the bytes of a row."""
    subject: str
    """What an error names."""
    _number: int = -1
    _piece: np.ndarray | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int | slice | np.ndarray) -> np.ndarray:
        """One row, or several: uint8."""
        if isinstance(row, slice | np.ndarray):
            chosen = np.arange(len(self))[row]
            rows = [self[int(one)] for one in chosen]
            return np.stack(rows) if rows else np.empty((0, self.shape[1]), np.uint8)
        step = rows_of_piece(self.shape[1])
        opened: np.ndarray = self._opened(int(row) // step)[int(row) % step]
        return opened

    def rest(self) -> bytes:
        """What is not rows."""
        pieces = -(-len(self) // rows_of_piece(self.shape[1]))
        at = self.at + PREFIX_BYTES + len(self) * self.shape[1] + pieces * TAG_BYTES
        return self._open(_LAST, self.content[at:])

    def _opened(self, number: int) -> np.ndarray:
        if self._piece is None or number != self._number:
            step, row_bytes = rows_of_piece(self.shape[1]), self.shape[1]
            size = step * row_bytes + TAG_BYTES
            at = self.at + PREFIX_BYTES + number * size
            count = min(step, len(self) - number * step)
            opened = self._open(number, self.content[at : at + count * row_bytes + TAG_BYTES])
            self._piece = np.frombuffer(opened, np.uint8).reshape(count, row_bytes)
            self._number = number
        return self._piece

    def _open(self, number: int, sealed: bytes) -> bytes:
        prefix = self.content[self.at : self.at + PREFIX_BYTES]
        return self.seal.open(sealed, self.head, prefix + number.to_bytes(4, "big"), subject=self.subject)
