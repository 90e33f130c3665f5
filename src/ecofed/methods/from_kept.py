"""ecofed without devices: a back is trained from a buffer that an earlier run kept.

Two orders. ``all``: everything is there from the first round. ``as-uploaded``: each upload counts from the round in
which it came, as in the run that collected it: every draw is the same as there then, and so is the network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ecofed.activations import DiskBuffer, ReplayBuffer, View
from ecofed.files.json_values import read_as
from ecofed.methods.base import Context, Keeping, Method, RoundOutcome
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.replay import replayed_devices
from ecofed.methods.restoring import check_view

Order = Literal["all", "as-uploaded"]
#: Stands for a device without samples, which is not in the buffer.
NOBODY = -1


class FromKept(EcoFed):
    """See the module.

    Args:
        context: as for every method; its channel is never used.
        kept: the buffer.
        rounds: in which round each (device, view) came.
        idle: rounds in which the run that collected it trained nothing; for ``as-uploaded``.
        order: which.
        empty: rounds in which a device answered that has no samples; for ``as-uploaded``.
    """

    asks_devices = False

    def __init__(
        self,
        context: Context,
        kept: DiskBuffer,
        rounds: Mapping[tuple[int, int], int],
        idle: Collection[int],
        order: Order,
        empty: Collection[int] = (),
    ) -> None:
        self._kept_on_disk = kept
        super().__init__(context)
        for device in kept.devices:
            for view in kept.views_of(device).values():
                check_view(f"buffer/{device}", view, self.codec.row_bytes, context.task.classes)
        self._order = order
        self._idle = idle if order == "as-uploaded" else ()
        as_uploaded = order == "as-uploaded"
        self._empty = empty if as_uploaded else ()
        self._arriving = {key: rounds[key] if as_uploaded else 1 for key in kept.files}

    def _empty_buffer(self) -> ReplayBuffer:
        return ReplayBuffer(self.bundle.id, views_kept=None)

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        for device, number in sorted(key for key, came in self._arriving.items() if came <= round_):
            view = self._kept_on_disk.views_of(device)[number]
            self.buffer.put(device, number, self._view(view), self.bundle.id)
        came_now = {device for (device, _), came in self._arriving.items() if came == round_}
        self._arriving = {key: came for key, came in self._arriving.items() if came > round_}
        if round_ in self._idle:
            return RoundOutcome(
                trained=False, notes=["nothing was trained in this round of the run that collected the buffer"]
            )
        uploaded = [device for device in sampled if device in came_now] if self._order == "as-uploaded" else []
        if not uploaded and round_ in self._empty:
            uploaded = [NOBODY]  # an upload of nothing is one: nobody is drawn to replay
        devices = replayed_devices(self.config, round_, sampled, uploaded, self.division.devices)
        loss = self._train(round_, devices)
        return RoundOutcome(
            train_loss=loss,
            trained=loss is not None,
            refreshed=False,
            server_steps=self._server_steps(devices),
            notes=[] if devices else [self.division.nothing("the kept buffer is empty")],
        )

    def _samples_of(self, device: int) -> int:
        own = super()._samples_of(device)
        return own if self._order == "as-uploaded" else self.division.samples(device)

    def _view(self, view: View) -> View:
        """As it lies on disk, or in memory: where the configuration wants it."""
        if self.config.ecofed.buffer == "disk":
            return view
        return replace(view, rows=np.asarray(view.rows[np.arange(len(view))]))

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Without the buffer: it lies where it was kept, and nowhere else."""
        arrays, trainer = self.trainer.state()
        return arrays, {"front_id": self.bundle.id, "trainer": trainer}

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        if read_as(str, values.get("front_id"), "values.front_id") != self.bundle.id:
            raise ValueError(f"it was made with front {values['front_id']}, not {self.bundle.id}")
        self.trainer.load_state(arrays, read_as(dict[str, Any], values.get("trainer"), "values.trainer"))

    def keeping(self) -> Keeping | None:
        return None


def from_kept(own: type[Method]) -> type[FromKept]:
    """The same for a method that is ecofed, or a variant of it."""
    assert issubclass(own, EcoFed)
    return FromKept if own is EcoFed else type(own.__name__, (FromKept, own), {})
