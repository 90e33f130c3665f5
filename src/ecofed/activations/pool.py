"""Many uploads as one, from which rows are drawn: nothing is copied together, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Rows(Protocol):
    """N rows that can be counted and drawn: an array, or one that lies in pieces."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows_B: Any, /) -> Any: ...


class Samples(Protocol):
    """N coded samples that can be trained on: an upload, or many."""

    @property
    def rows(self) -> Rows:
        """Codes, uint8 (N, row_bytes)."""
        ...

    @property
    def scale_N(self) -> Rows:  # noqa: N802 - as in View
        """Each row's scale, float32, or empty."""
        ...

    @property
    def labels_N(self) -> Rows:  # noqa: N802 - as in View
        """int64."""
        ...

    def __len__(self) -> int: ...


class Joined:
    """A field of several uploads, drawn as from one array; ``ends_P``: after how many rows each of them ends."""

    def __init__(self, parts: Sequence[Samples], field: str, ends_P: np.ndarray) -> None:
        self._parts, self._field, self._ends_P = parts, field, ends_P

    def __len__(self) -> int:
        return int(self._ends_P[-1])

    def __getitem__(self, rows_B: np.ndarray) -> np.ndarray:
        """Rows with these numbers, in memory."""
        rows_B = np.asarray(rows_B)
        if not len(rows_B):
            return self._of(0, rows_B)
        part_B = np.searchsorted(self._ends_P, rows_B, side="right")
        within_B = rows_B - np.where(part_B, self._ends_P[part_B - 1], 0)
        by_part_B = np.argsort(part_B, kind="stable")
        cuts = np.flatnonzero(np.diff(part_B[by_part_B])) + 1
        drawn = np.concatenate([self._of(part_B[own_B[0]], within_B[own_B]) for own_B in np.split(by_part_B, cuts)])
        ordered = np.empty_like(drawn)
        ordered[by_part_B] = drawn
        return ordered

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows, copied together, for whoever needs them all."""
        return np.concatenate([np.asarray(getattr(part, self._field)) for part in self._parts]).astype(
            dtype, copy=False
        )

    def _of(self, part: int, rows_B: np.ndarray) -> np.ndarray:
        return np.asarray(getattr(self._parts[part], self._field)[rows_B])


class Owners:
    """Whose each row of a pool is, int64."""

    def __init__(self, device_P: np.ndarray, length_P: np.ndarray) -> None:
        self._device_P, self._length_P = device_P, length_P
        self._ends_P = np.cumsum(length_P)

    def __len__(self) -> int:
        return int(self._ends_P[-1])

    def __getitem__(self, rows_B: np.ndarray) -> np.ndarray:
        owners_B: np.ndarray = self._device_P[np.searchsorted(self._ends_P, rows_B, side="right")]
        return owners_B

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.repeat(self._device_P, self._length_P).astype(dtype, copy=False)


class Pool:
    """All rows of some uploads (at least one), in their order: :class:`Samples`.

    Args:
        parts: the uploads.
        device_P: whose each of them is.
        length_P: how many rows each of them has.
    """

    def __init__(self, parts: Sequence[Samples], device_P: np.ndarray, length_P: np.ndarray) -> None:
        ends_P = np.cumsum(length_P)
        self._length = int(ends_P[-1])
        self.rows: Rows = Joined(parts, "rows", ends_P)
        scaled = len(parts[int(np.argmax(length_P))].scale_N) > 0
        self.scale_N: Rows = Joined(parts, "scale_N", ends_P) if scaled else np.empty(0, np.float32)
        self.sample_N: Rows = Joined(parts, "sample_N", ends_P)
        self.labels_N: Rows = Joined(parts, "labels_N", ends_P)
        self.device_N: Rows = Owners(device_P, length_P)
        """Whose each row is, int64."""

    def __len__(self) -> int:
        return self._length
