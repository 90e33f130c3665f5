"""ecofed that goes on from a kept buffer: devices are asked for what is new, and for nothing else.

A device that the buffer does not know is asked for everything, as in any run; one that it knows for its samples from
the number on that it had offered; one that was forgotten for nothing, ever again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ecofed.activations import ReplayBuffer, UploadHistory, Uploads, View
from ecofed.activations.disk_buffer import BUFFER_FOLDER, DiskBuffer
from ecofed.files.sealing import seal_if
from ecofed.methods.base import Context, Keeping, RoundOutcome
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.restoring import check_view
from ecofed.wire import Message, RefreshNew


@dataclass(frozen=True, kw_only=True)
class Before:
    """What a buffer knows of its devices."""

    buffer: DiskBuffer
    rounds: Mapping[tuple[int, int], int]
    """In which round each (device, view) came."""
    sent: Mapping[int, tuple[int, int]]
    """Views and bytes that each device uploaded."""
    seen: Mapping[int, int]
    """How many samples each device has offered."""
    forgotten: Mapping[int, list[int]]
    total_rounds: int
    class_of_K: np.ndarray
    """The number that each class of the buffer has in this run."""


class Updating(EcoFed):
    """See the module."""

    def __init__(self, context: Context, before: Before) -> None:
        self._before = before
        self._begun = False
        super().__init__(context)
        for device in before.buffer.devices:
            for view in before.buffer.views_of(device).values():
                check_view(f"buffer/{device}", view, self.codec.row_bytes, len(before.class_of_K))
        self._installed = set(before.sent)  # and what they have lost meanwhile is sent again, as a retransmission
        self._to_reinstall = set(self._installed)

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        if not self._begun:  # not earlier: a folder with uploads must say first which run goes on in it
            self._begun = True
            for device in self._before.buffer.devices:
                for number, view in self._before.buffer.views_of(device).items():
                    self.buffer.put(device, number, self._renamed(view), self.bundle.id)
        return super().train_round(round_, sampled)

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        self._begun = True
        super().load_state(arrays, values)

    def _renamed(self, view: View) -> View:
        rows = np.asarray(view.rows[np.arange(len(view))])
        return replace(view, rows=rows, labels_N=self._before.class_of_K[view.labels_N])

    def _empty_buffer(self) -> ReplayBuffer:
        settings = self.config.ecofed
        if settings.buffer == "memory":
            return ReplayBuffer(self.bundle.id, views_kept=None)
        assert self.context.folder is not None, "an update has a folder"
        folder, seal = self.context.folder / BUFFER_FOLDER, seal_if(self.config.encrypt_buffer)
        return DiskBuffer(self.bundle.id, None, folder, settings.buffer_bytes, seal=seal)

    def _empty_history(self) -> UploadHistory:
        before = {}
        for device, (views, sent) in self._before.sent.items():
            rounds = tuple(self._before.rounds.get((device, number), 0) for number in range(views))
            before[device] = Uploads(views=views, bytes=sent, rounds=rounds)
        return UploadHistory(self.buffer.folder, before)

    def _own_labels(self, device: int) -> np.ndarray | None:  # noqa: ARG002
        return None  # a device is asked once, for what is new, and sends its labels with it

    def _wants(self, round_: int, device: int) -> bool:  # noqa: ARG002
        """Once, unless it was forgotten, or the server itself knows that there is nothing new."""
        if self._before.forgotten.get(device) == [] or self._asked(device):
            return False
        known = self.context.samples
        return known is None or device not in self._before.seen or known[device] > self._first(device)

    def _asked(self, device: int) -> bool:
        return self.history.of(device).views > self._views_before(device)

    def _views_before(self, device: int) -> int:
        return self._before.sent.get(device, (0, 0))[0]

    def _first(self, device: int) -> int:
        return self._before.seen.get(device, 0)

    def _request(self, device: int, round_: int) -> Message:
        if not self._first(device):
            return super()._request(device, round_)
        front_id, view = self._front_of(device).id, self.history.of(device).views
        return RefreshNew(round=round_, view=view, front_id=front_id, first=self._first(device))

    def _samples_of(self, device: int) -> int:
        return self.division.samples(device)

    def keeping(self) -> Keeping | None:
        own = super().keeping()
        assert own is not None
        seen = {**self._before.seen, **{device: self._first(device) + new for device, new in own.seen.items()}}
        before, uploads = self._before.total_rounds, {}
        for device, past in self.history.past.items():
            then = self._views_before(device)
            rounds = (*past.rounds[:then], *(before + round_ for round_ in past.rounds[then:]))
            uploads[device] = replace(past, rounds=rounds)
        return replace(own, seen=seen, uploads=uploads, forgotten=self._before.forgotten, before=before)


def updating(own: type) -> type[Updating]:
    """The same for a method that is ecofed, or a variant of it."""
    assert issubclass(own, EcoFed)
    return Updating if own is EcoFed else type(own.__name__, (Updating, own), {})
