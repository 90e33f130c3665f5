"""What every refresh policy is: when does the server ask a device for new activations?"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ecofed.config.methods import EcoFedConfig


@dataclass(frozen=True, kw_only=True)
class Uploads:
    """What one device has uploaded so far."""

    views: int = 0
    bytes: int = 0
    """Of its codes, scales and labels, as they travelled."""
    rounds: tuple[int, ...] = ()
    """In which round each view came, by its number; empty where nobody asks."""


class RefreshPolicy(ABC):
    """Decides for one round and one sampled device.

    Whatever the policy, a device uploads at most ``ecofed.views`` views, and at most ``ecofed.uplink_budget_bytes``.
    """

    def __init__(self, config: EcoFedConfig, rounds: int) -> None:
        self.config = config
        self.rounds = rounds

    @abstractmethod
    def due(self, round_: int, past: Uploads) -> bool:
        """Whether a device with these uploads should upload in round ``round_`` (from 1), limits apart."""

    def wants(self, round_: int, past: Uploads) -> bool:
        """Whether a sampled device uploads in this round."""
        return past.views < self.affordable_views(past) and self.due(round_, past)

    def affordable_views(self, past: Uploads) -> float:
        """How many views the device may upload in all; ``inf`` without a limit.

        Views of a device are of nearly equal size, so past ones tell what another costs. The first is not known
        before it has arrived: it is always allowed.
        """
        limit = self.config.views or math.inf
        budget = self.config.uplink_budget_bytes
        if budget is not None:
            limit = min(limit, max(1, budget * past.views // past.bytes) if past.bytes else 1)
        return limit

    def observe(self, *, fresh_loss: float | None, train_loss: float | None) -> None:  # noqa: B027 - a calendar needs no losses
        """Told after each round: the loss on what arrived, before it was trained on, and the loss of the training."""

    @property
    def watches_fresh_loss(self) -> bool:
        """Whether :meth:`observe` needs ``fresh_loss``, which costs a pass over every upload."""
        return False

    def state(self) -> dict[str, Any]:
        """JSON values that the next decision depends on."""
        return {}

    def load_state(self, values: Mapping[str, Any]) -> None:  # noqa: B027 - most have no state
        """Inverse of :meth:`state`."""
