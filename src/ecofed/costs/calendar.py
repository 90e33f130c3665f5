"""Who is visited when: the course of a run, as far as it follows from the seed and the configuration."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ecofed.activations import Uploads, make_refresh_policy
from ecofed.config import Config
from ecofed.costs.availability import Availability, needed_devices
from ecofed.randomness import generator


@dataclass(frozen=True)
class Visit:
    """A device that takes part in a round."""

    device: int
    view: int
    """ecofed: which view it uploads; with view 0 its labels travel."""
    front: bool = False
    """ecofed: whether it is sent the front."""
    lost: bool = False
    """Its answer is of no use: it was too late by the clock, or too few others answered."""

    @property
    def alike(self) -> Visit:
        """Puts the same on the wire."""
        return self if self.view <= 1 else dataclasses.replace(self, view=1)

    @property
    def make_up(self) -> tuple[bool, bool, bool]:
        """What makes it differ from the visit to a like device."""
        return self.view == 0, self.front, self.lost


@dataclass(frozen=True)
class RoundCourse:
    """One round."""

    visits: tuple[Visit, ...]
    server_steps: int
    """SGD steps that the server makes in it."""
    late: tuple[int, ...] = ()
    """Devices that were too late: the server waited until the deadline."""


@dataclass(frozen=True)
class Course:
    """A whole run."""

    rounds: tuple[RoundCourse, ...]
    uploaded: Mapping[int, Uploads]
    """ecofed: what each device has in the buffer at the end."""

    @cached_property
    def visits(self) -> Counter[Visit]:
        """How often each visit happens; views after the first are alike."""
        return Counter(visit.alike for course in self.rounds for visit in course.visits)

    @cached_property
    def make_ups(self) -> list[tuple[tuple[tuple[bool, bool, bool], ...], int, bool]]:
        """Of each round: its visits but for who it is, the server's steps, and whether anybody was late."""
        return [
            (tuple(sorted(visit.make_up for visit in one.visits)), one.server_steps, one.late != ())
            for one in self.rounds
        ]


class Calendar:
    """Plays the rounds of a run without running it.

    Refresh policies that look at losses cannot be foreseen: they are taken to ask each device once.

    Args:
        config: the run.
        samples: training samples of each device.
        upload_bytes: content (codes, scales, labels) of a device's upload, by device and whether it is the first.
        too_late: whether a visit takes longer by the clock than the simulated deadline allows, in this round.
    """

    def __init__(
        self,
        config: Config,
        samples: Sequence[int],
        upload_bytes: Callable[[int, bool], int],
        too_late: Callable[[Visit, int], bool],
    ) -> None:
        self._config = config
        self._samples = samples
        self._upload_bytes = upload_bytes
        self._too_late = too_late
        self._policy = make_refresh_policy(config.ecofed, config.rounds)
        self._availability = Availability(config)
        self._installed: set[int] = set()
        self.uploaded: dict[int, Uploads] = {}

    def round(self, round_: int, sampled: Sequence[int]) -> RoundCourse:
        """The next round; rounds must be played in order."""
        ecofed = self._config.method == "ecofed"
        asked = [d for d in sampled if self._policy.wants(round_, self._past(d))] if ecofed else sampled
        visits = [
            Visit(device, self._past(device).views, front=ecofed and device not in self._installed)
            for device in asked
            if self._availability.is_there(device, round_)
        ]
        late = {visit.device for visit in visits if self._too_late(visit, round_)}
        in_time = [visit for visit in visits if visit.device not in late]
        counts = len(in_time) >= needed_devices(self._config.quorum, len(asked))
        course = tuple(
            dataclasses.replace(visit, lost=True) if visit.device in late or not counts else visit for visit in visits
        )
        steps = 0
        if ecofed:
            self._installed |= {visit.device for visit in in_time}
            if counts:
                self._take(in_time)
                steps = self._steps(self._replayed(round_, sampled, in_time), self._config.ecofed.server_steps)
        return RoundCourse(course, steps, tuple(sorted(late)))

    def _take(self, visits: Sequence[Visit]) -> None:
        """These uploads are in the buffer now."""
        for visit in visits:
            past = self._past(visit.device)
            content = self._upload_bytes(visit.device, visit.view == 0)
            self.uploaded[visit.device] = Uploads(views=past.views + 1, bytes=past.bytes + content)

    def _past(self, device: int) -> Uploads:
        return self.uploaded.get(device, Uploads())

    def _replayed(self, round_: int, sampled: Sequence[int], visits: Sequence[Visit]) -> list[int]:
        """Whose activations the round is about; the same draw as the method's."""
        if visits or not self._config.ecofed.replay:
            known = set(self.uploaded) if self._config.ecofed.replay else {visit.device for visit in visits}
            return [device for device in sampled if device in known and self._samples[device]]
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
