"""What of a replay buffer is trained on, and what is held out of it by the server (``validation``)."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import Any

import numpy as np

from ecofed.activations.buffer import ReplayBuffer, View
from ecofed.activations.pool import Pool, Rows
from ecofed.config.held_out import held_out
from ecofed.config.schema import Config


class Division:
    """A buffer in two. It goes on to hold everything, as it was uploaded: which samples are held out follows from the
    configuration.

    Both halves are tables with an entry an upload, which follow the buffer's changes: what a round costs does not grow
    with the devices that uploaded before it.
    """

    def __init__(self, buffer: ReplayBuffer, config: Config) -> None:
        self._buffer = buffer
        self._config = config
        self._trained, self._held = _Table(), _Table()

    @property
    def devices(self) -> list[int]:
        """Devices with at least one sample to train on, ascending."""
        self.follow()
        return self._trained.devices

    def trained(self, device: int, view: View) -> View:
        """An upload without what is held out of it."""
        if not self._config.validation.on_server:
            return view
        return _chosen(view, np.flatnonzero(~held_out(self._config, device, view.sample_N)))

    def latest(self, device: int) -> View:
        """What may be trained on of the device's newest view; ``KeyError`` without one."""
        return self.trained(device, self._buffer.latest(device))

    def samples(self, device: int) -> int:
        """How many different samples of the device may be trained on, in all its views."""
        views = self._buffer.views_of(device).values()
        return len(np.unique(np.concatenate([self.trained(device, view).sample_N for view in views])))

    def pool(self, devices: list[int] | None = None) -> Pool:
        """All rows that may be trained on, of which there are some; or those of these devices."""
        self.follow()
        return self._trained.pool(devices)

    def held_out(self) -> Pool | None:
        """What is held out, each sample as its device's oldest view has it; ``None`` of nothing."""
        self.follow()
        return self._held.pool() if self._held.devices else None

    def nothing(self, empty: str) -> str:
        """Why there is nothing to train on; ``empty`` says it of a buffer without uploads."""
        if self._held.devices:
            return "all that devices uploaded is held out, nothing is left to train on; lower validation.fraction"
        return f"{empty}: nothing to train on"

    def follow(self) -> None:
        """Take over what has changed in the buffer; whoever asks for something has it done."""
        changed = self._buffer.changes()
        for device, number in changed:
            view = self._buffer.views_of(device).get(number)
            self._trained.set(device, number, None if view is None else self.trained(device, view))
        if self._config.validation.on_server:
            for device in sorted({device for device, _ in changed}):
                first = next(iter(self._buffer.views_of(device).values()), None)
                held = None if first is None else np.flatnonzero(held_out(self._config, device, first.sample_N))
                self._held.set(device, 0, None if first is None or held is None else _chosen(first, held))


class _Table:
    """Uploads, or parts of them, in device and view order."""

    def __init__(self) -> None:
        self._keys: list[tuple[int, int]] = []
        self._parts: list[View] = []
        self._device_P, self._length_P = array("q"), array("q")
        self._devices: list[int] | None = None

    @property
    def devices(self) -> list[int]:
        """Those with at least one row, ascending."""
        if self._devices is None:
            device_P, length_P = self._columns()
            some_P = device_P[length_P > 0]  # ascending
            self._devices = some_P[np.diff(some_P, prepend=-1) > 0].tolist()
        return self._devices

    def set(self, device: int, number: int, part: View | None) -> None:
        """Put an upload in its place, or take it out."""
        key, self._devices = (device, number), None
        at = bisect_left(self._keys, key)
        if at < len(self._keys) and self._keys[at] == key:
            for column in (self._keys, self._parts, self._device_P, self._length_P):
                del column[at]
        if part is not None:
            self._keys.insert(at, key)
            self._parts.insert(at, part)
            self._device_P.insert(at, device)
            self._length_P.insert(at, len(part))

    def pool(self, devices: list[int] | None = None) -> Pool:
        """All rows, or those of some devices."""
        device_P, length_P = self._columns()
        if devices is None:
            return Pool(self._parts.copy(), device_P, length_P)
        own = np.flatnonzero(np.isin(device_P, devices))
        return Pool([self._parts[part] for part in own], device_P[own], length_P[own])

    def _columns(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self._device_P, np.int64), np.array(self._length_P, np.int64)


class _Chosen:
    """Some of many rows, which stay where they are."""

    def __init__(self, rows: Rows, chosen_N: np.ndarray) -> None:
        self._rows, self._chosen_N = rows, chosen_N

    def __len__(self) -> int:
        return len(self._chosen_N)

    def __getitem__(self, rows_B: Any) -> Any:
        return self._rows[self._chosen_N[rows_B]]


def _chosen(view: View, chosen_N: np.ndarray) -> View:
    return View(
        rows=_Chosen(view.rows, chosen_N),
        scale_N=view.scale_N[chosen_N] if len(view.scale_N) else view.scale_N,
        sample_N=view.sample_N[chosen_N],
        labels_N=view.labels_N[chosen_N],
    )
