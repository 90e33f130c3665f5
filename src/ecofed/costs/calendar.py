"""Who uploads when: the course of an ecofed run, as far as it follows from the seed and the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ecofed.activations import Uploads, make_refresh_policy
from ecofed.config import Config
from ecofed.randomness import generator


@dataclass(frozen=True)
class Visit:
    """A device that takes part in a round."""

    device: int
    view: int
    """ecofed: which view it uploads. Before view 0 it is sent the front, and with it its labels travel."""


@dataclass(frozen=True)
class RoundCourse:
    """One round."""

    visits: tuple[Visit, ...]
    server_steps: int
    """SGD steps that the server makes in it."""


class Calendar:
    """Plays the rounds of an ecofed run without running it.

    Refresh policies that look at losses cannot be foreseen: they are taken to ask each device once.

    Args:
        config: the run.
        samples: training samples of each device.
        upload_bytes: content (codes, scales, labels) of a device's upload, by device and whether it is the first.
    """

    def __init__(self, config: Config, samples: Sequence[int], upload_bytes: Callable[[int, bool], int]) -> None:
        self._config = config
        self._samples = samples
        self._upload_bytes = upload_bytes
        self._policy = make_refresh_policy(config.ecofed, config.rounds)
        self.uploaded: dict[int, Uploads] = {}

    def round(self, round_: int, sampled: Sequence[int]) -> RoundCourse:
        """The next round; rounds must be played in order."""
        settings = self._config.ecofed
        visits = [
            Visit(device, past.views)
            for device in sampled
            if self._policy.wants(round_, past := self.uploaded.get(device, Uploads()))
        ]
        for visit in visits:
            past = self.uploaded.get(visit.device, Uploads())
            content = self._upload_bytes(visit.device, visit.view == 0)
            self.uploaded[visit.device] = Uploads(views=past.views + 1, bytes=past.bytes + content)
        return RoundCourse(tuple(visits), self._steps(self._replayed(round_, sampled, visits), settings.server_steps))

    def _replayed(self, round_: int, sampled: Sequence[int], visits: Sequence[Visit]) -> list[int]:
        """Whose activations the round is about; the same draw as the method's."""
        if visits or not self._config.ecofed.replay:
            return [visit.device for visit in visits if self._samples[visit.device]]
        buffered = sorted(device for device in self.uploaded if self._samples[device])
        count = min(len(sampled), len(buffered))
        if not count:
            return []
        draw = generator(self._config.seed, "replayed-devices", round_=round_)
        return [int(device) for device in draw.choice(buffered, count, replace=False)]

    def _steps(self, replayed: Sequence[int], wanted: int | None) -> int:
        if wanted and replayed and self._config.ecofed.server == "pooled":
            return wanted
        return sum(-(-self._samples[device] // self._config.batch_size) for device in replayed)
