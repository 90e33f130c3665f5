"""fedgkt, declared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ecofed.config.facts import Facts
from ecofed.config.fields import require


@dataclass(frozen=True, kw_only=True)
class FedGKTConfig:
    """Two-way knowledge distillation."""

    temperature: float = 3.0
    """Both sides soften their logits by it before they teach each other."""
    alpha: float = 1.0
    """Weight of the distillation loss beside the cross-entropy."""

    def __post_init__(self) -> None:
        require(0 < self.temperature <= 1000, "fedgkt.temperature", self.temperature, "must be above 0, at most 1000")
        require(0 <= self.alpha < math.inf, "fedgkt.alpha", self.alpha, "must not be negative")


class FedGKTFacts(Facts):
    """Activations and logits up, logits down."""

    name = "fedgkt"
    Settings = FedGKTConfig
    role = "paper"
    colour, dark_colour, marker = "#8f6f06", "#f5d565", "v"
    Device = "ecofed.devices.methods.fedgkt:Distiller"
    against_flower = "keeps logits on the device between messages, where a Flower device starts anew for each"
