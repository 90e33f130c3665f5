"""closed-form, declared."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ecofed.config.facts import Facts, PooledEnd
from ecofed.config.fields import require

if TYPE_CHECKING:
    from ecofed.config.schema import Config


@dataclass(frozen=True, kw_only=True)
class ClosedFormConfig:
    """A rival: one upload of feature statistics, and a ridge classifier solved from their sum."""

    features: int = 128
    """At most this many features: the frozen front's activation, pooled over space until it is no wider."""
    sends: Literal["second-moments", "class-means"] = "second-moments"
    """What a device sends of its features: all sums that the ridge regression needs, which is exact; or of each class
    the number of images and the sum of their features, a few kB (FedCOF, 2025): how features vary within classes is
    then estimated from how the devices' class means differ."""
    ridge: float = 0.01
    """Strength of the penalty, in units of the mean squared feature."""

    def __post_init__(self) -> None:
        require(1 <= self.features <= 4096, "closed-form.features", self.features, "must be in 1..4096")
        require(0 < self.ridge < math.inf, "closed-form.ridge", self.ridge, "must be above 0")


class ClosedFormFacts(Facts):
    """A front down once, sums up once. Labels leave the device only as sums over each class."""

    name = "closed-form"
    Settings = ClosedFormConfig
    role = "rival"
    colour, dark_colour, marker = "#842055", "#d36c91", "X"
    Device = "ecofed.devices.methods.closed_form:Summer"
    trains_on_device = False
    needs_frozen_front = True
    labels_leave_device = False
    noise = "sums"

    @classmethod
    def pooled_end(cls, config: Config) -> PooledEnd:
        """A ridge classifier is linear."""
        return PooledEnd(features=config.closed_form.features, in_ball=config.privacy.epsilon is not None)

    @classmethod
    def limits_sent(cls, config: Config, there: Collection[int]) -> int | None:  # noqa: ARG003
        """Nothing is coded: any will do, to tell where features lie."""
        return min(there)

    @classmethod
    def unread(cls, config: Config) -> Mapping[str, str]:
        of_steps = ("learning_rate", "momentum", "batch_size", "local_epochs", "aggregation")
        return {**super().unread(config), **dict.fromkeys(of_steps, f"{cls.name} makes no step of SGD")}
