"""Who is visited when: the course of a run, as far as it follows from the seed and the configuration."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ecofed.config.schema import Config
from ecofed.costs.agenda import Agenda
from ecofed.costs.availability import Availability, needed_devices


@dataclass(frozen=True)
class Visit:
    """A device that takes part in a round."""

    device: int
    view: int
    """How often it has uploaded before; with view 0 its labels travel."""
    front: bool = False
    """Whether it is sent the front."""
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
    kept: Mapping[int, int]
    """How many views of each device's samples the server keeps at the end."""

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

    Args:
        config: the run.
        agenda: the method's, at the start.
        upload_bytes: content (codes, scales, labels) of a device's upload, by device and whether it is the first.
        too_late: whether a visit takes longer by the clock than the simulated deadline allows, in this round.
    """

    def __init__(
        self,
        config: Config,
        agenda: Agenda,
        upload_bytes: Callable[[int, bool], int],
        too_late: Callable[[Visit, int], bool],
    ) -> None:
        self._config = config
        self.agenda = agenda
        self._upload_bytes = upload_bytes
        self._too_late = too_late
        self._availability = Availability(config)

    def round(self, round_: int, sampled: Sequence[int]) -> RoundCourse:
        """The next round; rounds must be played in order."""
        agenda = self.agenda
        asked = [device for device in sampled if agenda.wants(round_, device)]
        of_before = sum(agenda.settled(device) for device in {*sampled}.difference(asked))
        visits = [
            Visit(device, agenda.uploads(device), front=agenda.needs_front(device))
            for device in asked
            if self._availability.is_there(device, round_)
        ]
        late = {visit.device for visit in visits if self._too_late(visit, round_)}
        in_time = [visit for visit in visits if visit.device not in late]
        counts = len(in_time) + of_before >= needed_devices(self._config.quorum, len(asked) + of_before)
        course = tuple(
            dataclasses.replace(visit, lost=True) if visit.device in late or not counts else visit for visit in visits
        )
        for visit in in_time:
            agenda.reached(visit.device)
        steps = 0
        if counts:
            for visit in in_time:
                agenda.took(visit.device, self._upload_bytes(visit.device, visit.view == 0))
            steps = agenda.server_steps(round_, sampled, [visit.device for visit in in_time])
        return RoundCourse(course, steps, tuple(sorted(late)))
