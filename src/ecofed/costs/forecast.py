"""What a run will put on the wire, message for message, from shapes alone; equal to the ledger of the real run.

Nothing is drawn here that the run does not draw in the same way: who uploads in which round, and whose activations are
replayed, follow from the seed and the configuration. What each visit holds, the method's own script says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, MutableMapping, Sequence
from functools import cache

from ecofed.config.registry import broken
from ecofed.config.schema import Config
from ecofed.costs.agenda import Agenda
from ecofed.costs.calendar import Calendar, Course, RoundCourse, Visit
from ecofed.costs.exchange import Exchange
from ecofed.costs.steps import Script, Step, Stop, steps_of
from ecofed.costs.workload import Workload


class Forecast:
    """Predicts the exchanges of one round after the other, from round 1.

    Args:
        script: the method.
        config: the run.
        work: the network's costs.
        samples: training samples of each device.
    """

    def __init__(self, script: type[Script], config: Config, work: Workload, samples: Sequence[int]) -> None:
        self.script = script
        self.config = config
        self.work = work
        self.samples = samples
        self.steps = cache(self._steps)
        """The steps of a visit with such a stop."""
        self._sized = cache(self._sizes)
        self.calendar = Calendar(
            config,
            script.agenda(config, samples),
            lambda device, first: self._content(self.stop(Visit(device, 0 if first else 1))),
            lambda visit, round_: self.too_late(visit, round_),
        )
        self.too_late: Callable[[Visit, int], bool] = lambda _visit, _round: False
        """Whether a visit in a round takes too long by the clock; whoever has a clock sets it."""

    def round(self, round_: int, sampled: Sequence[int]) -> tuple[list[Exchange], int]:
        """The round's exchanges in order, and the SGD steps that the server then makes on its buffer."""
        course = self.course(round_, sampled)
        return self.exchanges(course.visits), course.server_steps

    def course(self, round_: int, sampled: Sequence[int]) -> RoundCourse:
        """Who is visited in the next round; rounds must be played in order."""
        return self.calendar.round(round_, sampled)

    def whole_course(
        self, sampled: Sequence[Sequence[int]], known: MutableMapping[Hashable, Course] | None = None
    ) -> Course:
        """All rounds of the run.

        Args:
            sampled: the devices of each round.
            known: where courses are kept, for other methods and cuts with the same samples and the same draw.
        """
        config = self.config
        # Methods that ask everybody every time have the same course.
        own = None if self.script.agenda is Agenda else (self.script.name, config.of_method(self.script.name))
        key = (
            config.batch_size,
            config.rounds,
            config.seed,
            config.quorum,
            config.availability,
            config.validation,
            own,
        )
        course = (known or {}).get(key)
        if course is None:
            rounds = [self.course(round_, devices) for round_, devices in enumerate(sampled, start=1)]
            course = Course(tuple(rounds), self.calendar.agenda.kept())
            depends_on_cut = config.availability.deadline_seconds or getattr(own and own[1], "uplink_budget_bytes", 0)
            if known is not None and not depends_on_cut:
                known[key] = course
        return course

    def exchanges(self, visits: Sequence[Visit]) -> list[Exchange]:
        """What these visits put on the wire, in order."""
        return [
            dataclasses.replace(exchange, device=visit.device)
            for visit in visits
            for exchange in self._sized(self.stop(visit))
        ]

    def judged(self, visit: Visit) -> list[Exchange]:
        """What a device has to do before the server knows whether it is in time."""
        return self.exchanges([dataclasses.replace(visit, lost=True)])

    def stop(self, visit: Visit) -> Stop:
        """Equal for visits that put the same on the wire."""
        return Stop(
            samples=self.samples[visit.device],
            first=visit.view == 0,
            front=visit.front,
            lost=visit.lost,
            kind=self.work.kind(visit.device),
        )

    def kept_bytes(self, course: Course) -> int:
        """What the server keeps of the devices' samples at the end: rows, scales, sample numbers and labels."""
        row = self.script.kept_row_bytes(self.work)
        if not row:  # it keeps nothing of single samples
            return 0
        per_row = row + 16 + (4 if self.work.scaled_batches and self.script.coded(self.config) is not None else 0)
        return sum(self.samples[device] * views * per_row for device, views in course.kept.items())

    def _steps(self, stop: Stop) -> list[Step]:
        return steps_of(self.script, self.config, self.work, stop)

    def _sizes(self, stop: Stop) -> list[Exchange]:
        return [
            Exchange(
                device=-1,
                request=step.request.__name__,
                reply=step.reply.__name__,
                downlink=step.request_bytes,
                uplink=step.reply_bytes,
            )
            for step in self.steps(stop)
            if step.counted
        ]

    def _content(self, stop: Stop) -> int:
        """What an upload's budget counts: codes, scales and labels."""
        sizes = self._sized(stop)
        if not sizes:
            rule = "visit yields no Step for a device that is asked; yield one for each request"
            raise broken("method", self.script.name, rule)
        reply = sizes[-1].uplink
        return reply.get("activations", 0) + reply.get("labels", 0)
