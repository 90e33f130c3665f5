"""The order of events in a round: exchanges, and the steps of the method's script, become tasks for the schedule.

Devices work in parallel, each behind a link of its own; the server works on one thing at a time, first come, first
served. Averaging networks on the server and the tests after a round take no simulated time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ecofed.config.methods.training import PooledTraining
from ecofed.config.schema import Config
from ecofed.costs.exchange import Exchange
from ecofed.costs.profiles import Link, Machine
from ecofed.costs.schedule import SERVER, Task
from ecofed.costs.steps import Script, Step, Stop, Work, steps_of
from ecofed.costs.workload import Workload

#: A device that sends while it computes does so in at most so many pieces.
PIECES = 10
#: Kinds that can be sent while the device still computes.
_STREAMED = ("activations", "labels", "logits")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Who takes part. Device ``d`` has machine ``devices[d % len(devices)]`` and link ``links[d % len(links)]``."""

    devices: Sequence[Machine]
    links: Sequence[Link]
    server: Machine
    overlap: bool = True
    """Whether a device sends the activations of one batch while it computes the next."""

    def machine(self, device: int) -> Machine:
        return self.devices[device % len(self.devices)]

    def link(self, device: int) -> Link:
        return self.links[device % len(self.links)]

    @property
    def kinds(self) -> int:
        """After so many devices the pattern of machines and links begins anew."""
        return math.lcm(len(self.devices), len(self.links))

    def pattern(self, device: int) -> tuple[int, int]:
        """Equal for devices with equal machines and links."""
        return device % len(self.devices), device % len(self.links)


@dataclass(kw_only=True)
class RoundTasks:
    """Builds the tasks of one round."""

    script: type[Script]
    config: Config
    work: Workload
    fleet: Fleet
    samples: Mapping[int, int] | Sequence[int]
    """Training samples of each device that the run may ask for."""
    slowness: Callable[[int], float] | None = None
    """By which factor a device computes and sends more slowly than its profiles say."""
    tasks: list[Task] = field(default_factory=list)
    _known: dict[tuple[object, ...], float] = field(default_factory=dict)
    """Seconds of a batch, by what is done with it."""

    def build(self, exchanges: Sequence[Exchange], server_steps: int, deadline: float | None = None) -> list[Task]:
        """The tasks of a round.

        ``server_steps``: SGD steps that the server makes on what it keeps, after the uploads. ``deadline``: until when
        it waits for a device that is too late.
        """
        own: dict[int, list[Exchange]] = {}
        for exchange in exchanges:
            own.setdefault(exchange.device, []).append(exchange)
        last: tuple[int, ...] = ()
        ends: list[int] = []
        in_turn = self.script.in_turn(self.config)
        for device, sequence in own.items():
            last = self._visit(device, sequence, last if in_turn else ())
            ends += last
        if deadline is not None:
            ends += self._add((SERVER, "patience"), deadline, "wait", ())
        if server_steps:
            trained = self.script.pooled_part(self.work)
            own, size = self.config.of_method(self.script.name), self.config.batch_size
            size = own.batch(size) if isinstance(own, PooledTraining) else size
            step = trained.training_seconds(self.fleet.server, size)
            self._add((SERVER, "compute"), server_steps * step, "train", tuple(ends))
        return self.tasks

    def _visit(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the tasks that end the device's part."""
        # Who computes what does not depend on what travels only the first time.
        stop = Stop(samples=self.samples[device], kind=self.work.kind(device))
        steps = steps_of(self.script, self.config, self.work, stop)
        at = 0
        for exchange in exchanges:
            at, step = _matching(steps, at, exchange)
            after = self._down(device, exchange.downlink_bytes, after)
            works = list(step.device) if step is not None else []
            if step is not None and step.streamed and self.fleet.overlap and works[-1].batches:
                for work in works[:-1]:
                    after = self._compute(device, work, work.batches, after)
                after = self._stream(device, exchange, step, after)
                continue
            for work in works:
                after = self._compute(device, work, work.batches, after)
            after = self._up(device, exchange.uplink_bytes, after)
            if step is not None:
                after = self._serve(step, slice(None), after)
        return after

    def _stream(self, device: int, exchange: Exchange, step: Step, after: tuple[int, ...]) -> tuple[int, ...]:
        """Compute piece by piece and send; the server works on what has arrived."""
        work = step.device[-1]
        streamed = sum(exchange.uplink.get(name, 0) for name in _STREAMED)
        samples = sum(work.batches)
        served: tuple[int, ...] = ()
        size = -(-len(work.batches) // PIECES)
        for start in range(0, len(work.batches), size):
            piece = slice(start, start + size)
            after = self._compute(device, work, work.batches[piece], after)
            sent = self._up(device, streamed * sum(work.batches[piece]) / samples, after)
            if step.server:
                served = self._serve(step, piece, (*sent, *served))
        return (*self._up(device, exchange.uplink_bytes - streamed, after), *served)

    def _serve(self, step: Step, piece: slice, after: tuple[int, ...]) -> tuple[int, ...]:
        """What the server does with these batches, which have arrived."""
        for work in step.server:
            seconds = sum(self._batch(work, self.fleet.server, batch) for batch in work.batches[piece])
            after = self._add((SERVER, "compute"), seconds, work.kind, after)
        return after

    # --- parts of a round ---

    def _compute(self, device: int, work: Work, batches: Sequence[int], after: tuple[int, ...]) -> tuple[int, ...]:
        machine = self.fleet.machine(device)
        seconds = sum(self._batch(work, machine, batch) + work.prepare_seconds(machine, batch) for batch in batches)
        return self._add((str(device), "compute"), seconds, work.kind, after)

    def _batch(self, work: Work, machine: Machine, batch: int) -> float:
        """Seconds of one batch; the sums over all layers are worked out once."""
        key = (work.what, *map(id, work.parts), id(machine), batch)
        if key not in self._known:
            self._known[key] = work.seconds(machine, batch)
        return self._known[key]

    def _down(self, device: int, count: float, after: tuple[int, ...]) -> tuple[int, ...]:
        link = self.fleet.link(device)
        return self._add(
            (str(device), "downlink"), link.downlink_seconds(count), "receive", after, link.latency_seconds
        )

    def _up(self, device: int, count: float, after: tuple[int, ...]) -> tuple[int, ...]:
        link = self.fleet.link(device)
        return self._add((str(device), "uplink"), link.uplink_seconds(count), "send", after, link.latency_seconds)

    def _add(
        self, resource: tuple[str, str], seconds: float, kind: str, after: tuple[int, ...], delay: float = 0.0
    ) -> tuple[int, ...]:
        if self.slowness is not None and resource[0] != SERVER:
            factor = self.slowness(int(resource[0]))
            seconds, delay = seconds * factor, delay * factor
        self.tasks.append(Task(resource, seconds, kind, after, delay))
        return (len(self.tasks) - 1,)


def _matching(steps: Sequence[Step], at: int, exchange: Exchange) -> tuple[int, Step | None]:
    """The next step that asks what the exchange did, and where to go on; a visit may have been begun anew.

    ``None`` for what is in no script: it travels, and nobody computes.
    """
    for place in (*range(at, len(steps)), *range(at)):
        step = steps[place]
        if exchange.request in (step.request.__name__, step.of_new and step.of_new.__name__):
            return place + 1, step
    return at, None
