"""What of a replay buffer is trained on, and what is held out of it by the server (``validation``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecofed.activations.buffer import ReplayBuffer, Rows, View
from ecofed.config.held_out import held_out
from ecofed.config.schema import Config


class Division:
    """A buffer in two. It goes on to hold everything, as it was uploaded: which samples are held out follows from the
    configuration, whenever it is asked for."""

    def __init__(self, buffer: ReplayBuffer, config: Config) -> None:
        self._buffer = buffer
        self._config = config

    @property
    def devices(self) -> list[int]:
        """Devices with at least one sample to train on, ascending."""
        if not self._config.validation.on_server:
            return self._buffer.devices
        return [device for device in self._buffer.devices if len(self.latest(device))]

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

    def pool(self, devices: list[int]) -> tuple[View, np.ndarray]:
        """All rows of these devices (at least one of them) that may be trained on, and whose each is, int64."""
        pooled = self._buffer.pool(devices)
        views = [(device, view) for device in devices for view in self._buffer.views_of(device).values()]
        device_N = np.repeat([device for device, _ in views], [len(view) for _, view in views])
        if not self._config.validation.on_server:
            return pooled, device_N
        held = [held_out(self._config, device, view.sample_N) for device, view in views]
        chosen_N = np.flatnonzero(~np.concatenate(held))
        return _chosen(pooled, chosen_N), device_N[chosen_N]

    def held_out(self) -> tuple[View, np.ndarray] | None:
        """What is held out, each sample as its device's oldest view has it, and whose it is; ``None`` of nothing."""
        if not self._config.validation.on_server or not self._buffer.devices:
            return None
        pooled, chosen, whose, start = self._buffer.pool(self._buffer.devices), [], [], 0
        for device in self._buffer.devices:
            views = list(self._buffer.views_of(device).values())
            own_N = np.flatnonzero(held_out(self._config, device, views[0].sample_N))
            chosen.append(start + own_N)
            whose.append(np.full(len(own_N), device))
            start += sum(map(len, views))
        chosen_N = np.concatenate(chosen)
        return (_chosen(pooled, chosen_N), np.concatenate(whose)) if len(chosen_N) else None


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
