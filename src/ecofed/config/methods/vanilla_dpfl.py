"""vanilla-dpfl, declared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ecofed.config.facts import Facts


@dataclass(frozen=True, kw_only=True)
class VanillaDPFLConfig:
    """SplitFed."""

    version: Literal["v1", "v2"] = "v1"
    """``v1``: one back per device, averaged after the round. ``v2``: one shared back, devices in turn."""


class VanillaDPFLFacts(Facts):
    """Activation up and gradient down, batch by batch."""

    name = "vanilla-dpfl"
    Settings = VanillaDPFLConfig
    role = "paper"
    colour, dark_colour, marker = "#8f1d0a", "#ea6a58", "^"
    Device = "ecofed.devices.methods.vanilla_dpfl:SplitTrainer"
    against_flower = "sends a message for every batch, and a Flower message takes seconds"
