"""Who uploads in a round of ecofed, and whose activations are replayed: drawn by the run, foreseen by calendars."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecofed.activations import Uploads, View, make_refresh_policy
from ecofed.config.schema import Config
from ecofed.costs.agenda import Agenda
from ecofed.files.json_values import Count
from ecofed.randomness import generator


@dataclass(frozen=True, kw_only=True)
class ReplayState:
    """What a checkpoint of ecofed holds besides arrays."""

    front_id: str
    trainer: dict[str, Any]
    refresh: dict[str, Any]
    saturation_noted: bool
    installed: list[Count]
    """Devices that have the front and have uploaded nothing yet."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """One device's upload, checked."""

    view: View
    saturated_fraction: float
    content_bytes: int


def replayed_devices(
    config: Config, round_: int, sampled: Sequence[int], uploaded: Sequence[int], buffered: Sequence[int]
) -> list[int]:
    """Whose activations a round is about: the sampled devices' if any uploaded, otherwise as many drawn (ascending).

    ``buffered``: who has some in the buffer, ascending.
    """
    if uploaded or not config.ecofed.replay:
        known = sampled if config.ecofed.replay else uploaded
        places = ((device, bisect_left(buffered, device)) for device in known)
        return [device for device, at in places if at < len(buffered) and buffered[at] == device]
    count = min(len(sampled), len(buffered))
    drawn = generator(config.seed, "replayed-devices", round_=round_).choice(buffered, count, replace=False)
    return sorted(int(device) for device in drawn)


def labels_in_order(view: View) -> np.ndarray:
    """Of all of a device's samples, in its own order. Raises ``ValueError`` for a view that is not of all of them."""
    if not np.array_equal(np.sort(view.sample_N), np.arange(len(view))):
        raise ValueError("an upload is not of all samples of its device")
    labels_N = np.empty_like(view.labels_N)
    labels_N[view.sample_N] = view.labels_N
    return labels_N


def saturation_note(worst: float, most: float) -> str:
    """Of a front whose quantiser suits other images."""
    return (
        f"{worst:.0%} of a device's activation entries exceed the quantiser's limit (more than {most:.0%}): its "
        "constants were set on other images; 'ecofed pretrain' makes a front from images like these"
    )


class EcoFedAgenda(Agenda):
    """Refresh policies that look at losses cannot be foreseen: they are taken to ask each device once."""

    def __init__(self, config: Config, samples: Sequence[int]) -> None:
        super().__init__(config, samples)
        self._policy = make_refresh_policy(config.ecofed, config.rounds)
        self._installed: set[int] = set()
        self._uploaded: dict[int, Uploads] = {}

    def wants(self, round_: int, device: int) -> bool:
        return self._policy.wants(round_, self._past(device))

    def settled(self, device: int) -> bool:
        return device in self._uploaded

    def uploads(self, device: int) -> int:
        return self._past(device).views

    def needs_front(self, device: int) -> bool:
        return device not in self._installed

    def reached(self, device: int) -> None:
        self._installed.add(device)

    def took(self, device: int, content_bytes: int) -> None:
        past = self._past(device)
        self._uploaded[device] = Uploads(views=past.views + 1, bytes=past.bytes + content_bytes)

    def server_steps(self, round_: int, sampled: Sequence[int], answered: Sequence[int]) -> int:
        buffered = sorted(device for device in self._uploaded if self.trained[device])
        devices = replayed_devices(self.config, round_, sampled, answered, buffered)
        return self.config.ecofed.steps((self.trained[device] for device in devices), self.config.batch_size)

    def kept(self) -> Mapping[int, int]:
        settings = self.config.ecofed
        bounded = settings.views or settings.uplink_budget_bytes
        return {device: past.views if bounded else 1 for device, past in self._uploaded.items()}

    def _past(self, device: int) -> Uploads:
        return self._uploaded.get(device, Uploads())
