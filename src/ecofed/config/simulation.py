"""The sections of the configuration about what is simulated: the clock, and devices that come and go."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from ecofed.config.fields import Needs, require


@dataclass(frozen=True, kw_only=True)
class ClockConfig:
    """What the simulated clock takes devices, links and server to be; it changes no other result."""

    device: str = "raspberry-pi-4"
    """A device profile (``ecofed profile --list``) or the path of one; several, as ``raspberry-pi-3:2,raspberry-pi-5``,
    are dealt to the devices in this pattern, over and over."""
    link: str = "4g"
    """A link profile, or several as above."""
    server: str = "workstation"
    """A server profile or the path of one."""
    overlap: bool = True
    """Whether a device sends the activations of one batch while it computes the next, as far as the method allows.
    The shipped runtimes send one message when all is computed: ``false`` predicts those."""


@dataclass(frozen=True, kw_only=True)
class AvailabilityConfig:
    """Devices that come and go, and stragglers, simulated: who can be reached in a round, and who is slow."""

    trace: str | None = None
    """A CSV file of the times in which devices are there: ``device,first_round,last_round``, one line each. Devices
    that it does not name are always there."""
    share: float = 1.0
    """The share of rounds in which a device is there, drawn by the seed. A sampled device that is away does not answer:
    the quorum decides whether the round counts."""
    cycle_rounds: int = 1
    """Devices are there and away by turns: in cycles of so many rounds, each beginning somewhere else. 1: drawn anew
    for every round. Where ``share`` is no whole number of them, cycles have one round more or less, by a draw."""
    slow_share: float = 0.0
    """Probability that a device is a straggler in a round: its computing and its link take ``slow_factor`` times as
    long."""
    slow_factor: float = 4.0
    """See ``slow_share``."""
    deadline_seconds: float | None = None
    """Simulated: what a device sends counts, but it is left out of a round when its part of it, with the server to
    itself, takes longer by the clock; the server waits until then. ``none``: the slowest is always waited for."""

    NEEDS: ClassVar[Needs] = {
        "cycle_rounds": ("availability.share below 1", lambda own: own.share < 1),
        "slow_factor": ("availability.slow_share above 0", lambda own: own.slow_share > 0),
    }

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, "availability.share", self.share, "must be above 0 and at most 1")
        require(self.cycle_rounds >= 1, "availability.cycle_rounds", self.cycle_rounds, "must be at least 1")
        require(0 <= self.slow_share <= 1, "availability.slow_share", self.slow_share, "is a probability, 0..1")
        factor, deadline = self.slow_factor, self.deadline_seconds
        require(1 <= factor < math.inf, "availability.slow_factor", factor, "must be a finite number, at least 1")
        usable = deadline is None or 0 < deadline < math.inf
        require(usable, "availability.deadline_seconds", deadline, "must be a finite number above 0, or none")
