"""classic-fl, declared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from ecofed.config.facts import Facts
from ecofed.config.fields import Needs, require


@dataclass(frozen=True, kw_only=True)
class ClassicFLConfig:
    """FedAvg of the whole network."""

    schedule: Literal["constant", "cosine"] = "constant"
    """The devices' learning rate over all rounds. ``cosine`` falls from ``learning_rate`` to zero."""
    server: Literal["average", "momentum", "adam"] = "average"
    """What the server makes of the devices' average. ``average``: the next network (FedAvg). ``momentum``, ``adam``:
    what it changed is the gradient of one step of that optimiser (FedAvgM, FedAdam), against skewed labels."""
    server_learning_rate: float = 1.0
    """Of ``momentum`` and ``adam``; FedAdam wants some 0.01."""
    server_momentum: float = 0.9
    """Of ``momentum`` and ``adam`` (there called beta 1)."""

    NEEDS: ClassVar[Needs] = dict.fromkeys(
        ("server_learning_rate", "server_momentum"),
        ("classic-fl.server=momentum or classic-fl.server=adam", lambda own: own.server != "average"),
    )

    def __post_init__(self) -> None:
        rate = self.server_learning_rate
        require(0 < rate < math.inf, "classic-fl.server_learning_rate", rate, "must be a finite number above 0")
        momentum = self.server_momentum
        require(0 <= momentum < 1, "classic-fl.server_momentum", momentum, "must be in [0, 1)")


class ClassicFLFacts(Facts):
    """Whole network down, whole network up."""

    name = "classic-fl"
    Settings = ClassicFLConfig
    role = "paper"
    colour, dark_colour, marker = "#16397f", "#b4d8ff", "s"
    Device = "ecofed.devices.methods.classic_fl:WholeTrainer"
    cuts_network = False
    labels_leave_device = False
