"""lgl, declared."""

from __future__ import annotations

from dataclasses import dataclass

from ecofed.config.facts import Facts


@dataclass(frozen=True, kw_only=True)
class LGLConfig:
    """Local-loss training of the front with an auxiliary classifier."""


class LGLFacts(Facts):
    """Activations up, no gradients."""

    name = "lgl"
    Settings = LGLConfig
    role = "paper"
    colour, dark_colour, marker = "#a838c9", "#d65cf0", "D"
    Device = "ecofed.devices.methods.lgl:LocalLossTrainer"
