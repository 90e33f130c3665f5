"""The clock: simulated seconds of a round on a fleet of devices, from what the round sent and what it computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ecofed.config.schema import Config
from ecofed.costs.availability import Availability
from ecofed.costs.exchange import Exchange
from ecofed.costs.profiles import dealt, load_device, load_link, load_server
from ecofed.costs.rounds import Fleet, RoundTasks
from ecofed.costs.schedule import SERVER, Span, schedule
from ecofed.costs.steps import Script
from ecofed.costs.workload import Workload


@dataclass(frozen=True, kw_only=True)
class RoundTime:
    """One round by the clock."""

    seconds: float
    server_seconds: float
    """In which the server computes."""
    device_seconds: Mapping[int, float]
    """In which each device computes; devices that did nothing are left out."""
    joules: float | None
    """Of the devices that took part, idling included; ``None`` where a device's profile has no power figures."""
    spans: Sequence[Span]

    def timeline(self, devices: int = 4) -> list[list[Any]]:
        """``[actor, kind, start, end]`` of the server and the first few devices; what touches is joined."""
        shown = {SERVER, *(str(device) for device in sorted(self.device_seconds)[:devices])}
        gap = self.seconds / 500
        rows: list[list[Any]] = []
        last: dict[tuple[str, str], list[Any]] = {}
        for span in sorted(self.spans, key=lambda span: span.start):
            if span.actor not in shown or span.end <= span.start or span.kind == "wait":
                continue
            key = (span.actor, span.kind)
            if key in last and span.start - last[key][3] <= gap:
                last[key][3] = max(last[key][3], span.end)
            else:
                last[key] = [*key, span.start, span.end]
                rows.append(last[key])
        return [[actor, kind, round(start, 4), round(end, 4)] for actor, kind, start, end in rows]


class Clock:
    """Turns a round's exchanges into time.

    Args:
        script: the method.
        config: the run; its batch sizes and epochs decide how often a device computes.
        work: the network's costs.
        samples: training samples of each device.
        fleet: profiles; default: those that ``config.clock`` names.
    """

    def __init__(
        self,
        script: type[Script],
        config: Config,
        work: Workload,
        samples: Mapping[int, int] | Sequence[int],
        fleet: Fleet | None = None,
    ) -> None:
        self.script = script
        self.config = config
        self.work = work
        self.samples = samples
        self.fleet = fleet or fleet_of(config)
        self.availability = Availability(config)

    def round(
        self, exchanges: Sequence[Exchange], server_steps: int = 0, *, round_: int | None = None, waited: bool = False
    ) -> RoundTime:
        """Time of a round with these exchanges.

        Args:
            exchanges: of the devices that were in time.
            server_steps: SGD steps on what the server keeps.
            round_: which of the run, for who is slow in it; ``None``: nobody.
            waited: the server waited until the deadline for another device.
        """
        tasks = self._tasks(round_).build(
            exchanges, server_steps, self.config.availability.deadline_seconds if waited else None
        )
        spans, end = schedule(tasks)
        busy: dict[str, float] = {}
        for span in spans:
            if span.kind in ("infer", "train"):
                busy[span.actor] = busy.get(span.actor, 0.0) + span.end - span.start
        devices = sorted({exchange.device for exchange in exchanges})
        computing = {device: busy.get(str(device), 0.0) for device in devices}
        return RoundTime(
            seconds=end,
            server_seconds=busy.get(SERVER, 0.0),
            device_seconds=computing,
            joules=self._joules(computing, end),
            spans=spans,
        )

    def too_late(self, exchanges: Sequence[Exchange], round_: int) -> str:
        """Why one device's part of a round, with the server to itself, takes longer than the simulated deadline allows.

        Empty: it does not.
        """
        deadline = self.config.availability.deadline_seconds
        tasks = self._tasks(round_).build(exchanges, 0) if deadline is not None else None
        if deadline is None or tasks is None:
            return ""
        seconds = schedule(tasks)[1]
        if seconds <= deadline:
            return ""
        return f"would have taken {seconds:.3g} s, longer than availability.deadline_seconds = {deadline:g}"

    def _tasks(self, round_: int | None) -> RoundTasks:
        slowness = None
        if round_ is not None and self.config.availability.slow_share > 0:
            slowness = partial(self.availability.slowness, round_=round_)
        return RoundTasks(
            script=self.script,
            config=self.config,
            work=self.work,
            fleet=self.fleet,
            samples=self.samples,
            slowness=slowness,
        )

    def _joules(self, computing: Mapping[int, float], end: float) -> float | None:
        total = 0.0
        for device, seconds in computing.items():
            machine = self.fleet.machine(device)
            if machine.idle_watts is None or machine.busy_watts is None:
                return None
            total += machine.busy_watts * seconds + machine.idle_watts * (end - seconds)
        return total


def fleet_of(config: Config) -> Fleet:
    """The fleet that ``config.clock`` names.

    Raises:
        ConfigError: a profile that does not exist or cannot be read.
    """
    settings = config.clock
    return Fleet(
        devices=[load_device(name) for name in dealt(settings.device)],
        links=[load_link(name) for name in dealt(settings.link)],
        server=load_server(settings.server),
        overlap=settings.overlap,
    )
