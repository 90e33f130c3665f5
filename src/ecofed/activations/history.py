"""What each device has uploaded so far, and when: one row an upload, in a table that only grows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ecofed.activations.refresh.base import Uploads
from ecofed.files.growing import GrowingTable

HISTORY_FILE = "history.table"


class UploadHistory:
    """Of one run.

    Args:
        folder: where the table lies; ``None``: in the checkpoint.
        before: what devices had uploaded in runs that this one continues.
    """

    def __init__(self, folder: Path | None, before: Mapping[int, Uploads] | None = None) -> None:
        self._table = GrowingTable(4, None if folder is None else folder / HISTORY_FILE)
        self._before = dict(before or {})
        self.past = dict(self._before)
        """By device, with what came before."""
        self.samples: dict[int, int] = {}
        """How many samples each device's uploads of this run are of."""

    def add(self, device: int, round_: int, content_bytes: int, samples: int) -> None:
        """A device has uploaded once more."""
        self._table.add(device, round_, content_bytes, samples)
        self._count(device, round_, content_bytes, samples)

    def of(self, device: int) -> Uploads:
        """A device's uploads."""
        return self.past.get(device, Uploads())

    def state(self) -> np.ndarray:
        """What a checkpoint says of it."""
        return self._table.save()

    def load_state(self, saved: np.ndarray) -> None:
        """Inverse of :meth:`state`.

        Raises:
            ValueError: it is no such state. OSError: the table cannot be read.
        """
        self._table.load(saved)
        self.past, self.samples = dict(self._before), {}
        for device, round_, content_bytes, samples in self._table:
            if min(device, round_, content_bytes, samples) < 0:
                raise ValueError("the history of uploads has a negative number")
            self._count(device, round_, content_bytes, samples)

    def _count(self, device: int, round_: int, content_bytes: int, samples: int) -> None:
        past = self.of(device)
        self.past[device] = Uploads(
            views=past.views + 1, bytes=past.bytes + content_bytes, rounds=(*past.rounds, round_)
        )
        self.samples[device] = samples
