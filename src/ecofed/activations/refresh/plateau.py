"""New views when the old ones are learnt by heart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ecofed.activations.refresh.base import RefreshPolicy, Uploads
from ecofed.config.methods import EcoFedConfig
from ecofed.files.json_values import Loss, read_as


class PlateauRefresh(RefreshPolicy):
    """Devices never seen before upload at once; the others when the buffer stops helping.

    The loss on an upload before it is trained on says how well the back does on what it does not know. When the
    training loss on the buffer has fallen below ``ecofed.memorised`` times that, the buffer is known by heart, and more
    steps on it teach little. (The paper names a dynamic period; its code always uses 2.)
    """

    def __init__(self, config: EcoFedConfig, rounds: int) -> None:
        super().__init__(config, rounds)
        self._fresh_loss: float | None = None
        self._train_loss: float | None = None

    def due(self, round_: int, past: Uploads) -> bool:  # noqa: ARG002 - the losses decide, not the calendar
        if past.views == 0 or self._fresh_loss is None or self._train_loss is None:
            return past.views == 0
        return self._train_loss < self.config.memorised * self._fresh_loss

    def observe(self, *, fresh_loss: float | None, train_loss: float | None) -> None:
        # A loss that is not finite tells nothing, and a checkpoint could not hold it.
        self._fresh_loss = fresh_loss if fresh_loss is not None and math.isfinite(fresh_loss) else self._fresh_loss
        self._train_loss = train_loss if train_loss is not None and math.isfinite(train_loss) else self._train_loss

    @property
    def watches_fresh_loss(self) -> bool:
        return True

    def state(self) -> dict[str, Any]:
        return {"fresh_loss": self._fresh_loss, "train_loss": self._train_loss}

    def load_state(self, values: Mapping[str, Any]) -> None:
        self._fresh_loss = read_as(Loss | None, values["fresh_loss"], "values.refresh.fresh_loss")
        self._train_loss = read_as(Loss | None, values["train_loss"], "values.refresh.train_loss")
