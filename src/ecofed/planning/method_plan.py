"""What a run will cost on a fleet, method by method, before anything is trained."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecofed.config.schema import Config
from ecofed.costs.calendar import Course, RoundCourse, Visit
from ecofed.costs.clock import Clock, RoundTime
from ecofed.costs.exchange import by_kind
from ecofed.costs.forecast import Forecast
from ecofed.costs.rounds import Fleet
from ecofed.costs.steps import Script, Step, Stop, device_flops, device_memory, trains_on_device
from ecofed.costs.workload import Workload
from ecofed.methods.delivery import Delivery

#: Rounds of different make-up whose time is worked out; of more, these many stand for all.
MOST_ROUNDS = 6

#: Bytes by kind and direction.
Ledger = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class MethodPlan:
    """One method at one cut. Means are over the rounds of the run; bytes are those of all devices together."""

    method: str
    cut: str
    cuts_network: bool
    """Whether the figures depend on the cut."""
    activation_shape: tuple[int, int, int]
    device_flops: float
    """Of one device in a round in which it takes part (ecofed: in which it uploads)."""
    trains_on_device: bool
    peak_device_bytes: int
    """The most memory on a device: operating system and program, network, training, the largest message."""
    does_not_fit: tuple[str, ...]
    """Device profiles whose memory is too small."""
    early_cuts: Mapping[str, Sequence[str]]
    """ecofed: where devices of a profile stop that do not run the whole front."""
    total_uplink_bytes: int
    total_downlink_bytes: int
    ledger: Mapping[str, Mapping[str, int]]
    """Bytes of the whole run by kind and direction."""
    uplink_bytes_per_round: float
    downlink_bytes_per_round: float
    bytes_per_device_round: float
    seconds_per_round: float
    total_seconds: float
    """With the delivery of the trained network after the last round, as all totals."""
    exact_seconds: bool
    """Whether every kind of round was worked out, or some stand for all."""
    server_seconds_per_round: float
    joules_per_round: float | None
    delivery_bytes: int
    """Of the trained network, for each device; 0: it is not delivered."""
    delivery_seconds: float
    """Until all devices have it, and have tested it if they are to."""
    replay_bytes: int
    """What the server's replay buffer holds at the end."""
    timeline: list[list[Any]] = dataclasses.field(repr=False)
    """Of the busiest round: ``[actor, kind, start, end]``."""
    leakage_ssim: float | None = None
    """Of the images that an attacker makes from what is sent, where an audit of the front is known."""


def plan_method(
    script: type[Script],
    config: Config,
    cut: str,
    work: Workload,
    samples: Sequence[int],
    sampled: Sequence[Sequence[int]],
    fleet: Fleet,
    most_rounds: int = MOST_ROUNDS,
    courses: MutableMapping[Hashable, Course] | None = None,
    held_out: Sequence[int] = (),
) -> MethodPlan:
    """Plan one method.

    Args:
        script: the method.
        config: the run.
        cut: for the record.
        work: the network's costs at this cut.
        samples: training samples of each device.
        sampled: the devices of each round.
        fleet: who they are.
        most_rounds: rounds of different make-up whose time is worked out.
        courses: see :meth:`Forecast.whole_course`.
        held_out: samples that each device tests a delivered network on.
    """
    forecast = Forecast(script, config, work, samples)
    clock = Clock(script, config, work, samples, fleet)
    if config.availability.deadline_seconds is not None:
        forecast.too_late = lambda visit, round_: bool(clock.too_late(forecast.judged(visit), round_))
    course = forecast.whole_course(sampled, courses)
    ledger = _ledger(forecast, course)
    times, exact = _times(forecast, clock, course, most_rounds)
    rounds = len(course.rounds)
    total = sum(time.seconds * count for time, count in times) * rounds / sum(count for _, count in times)
    weights = sum(count for _, count in times)
    joules = [(time.joules, count) for time, count in times if time.joules is not None]
    uplink, downlink = _total(ledger, "uplink"), _total(ledger, "downlink")
    delivered, delivery_seconds, delivery_steps = _delivery(config, work, held_out, fleet)
    kinds = {(fleet.machine(device), work.kind(device)): None for device in range(len(samples))}
    likes = Counter((count, work.kind(device)) for device, count in enumerate(samples))
    flops = {
        (count, kind): device_flops(forecast.steps(Stop(samples=count, front=False, kind=kind)))
        for count, kind in likes
    }
    busiest = {kind: forecast.steps(Stop(samples=max(samples), kind=kind)) for _, kind in kinds}
    least = device_memory(delivery_steps, config.batch_size)
    needs = {key: max(least, device_memory(busiest[key[1]], config.batch_size)) for key in kinds}
    early: dict[str, list[str]] = {}
    for machine, kind in kinds:
        front = work.early[kind]
        if front is not None:
            early.setdefault(machine.name, []).append(front.cut)
    return MethodPlan(
        method=config.method,
        cut=cut,
        cuts_network=script.cuts_network,
        activation_shape=work.activation_shape,
        device_flops=math.fsum(flops[who] * count for who, count in likes.items()) / len(samples),
        trains_on_device=any(trains_on_device(steps) for steps in busiest.values()),
        peak_device_bytes=max(need + machine.runtime_bytes for (machine, _), need in needs.items()),
        does_not_fit=tuple(dict.fromkeys(one.name for (one, _), need in needs.items() if need > one.free_bytes)),
        early_cuts=early,
        total_uplink_bytes=uplink + _total(delivered, "uplink"),
        total_downlink_bytes=downlink + _total(delivered, "downlink"),
        ledger=_sum(ledger, delivered),
        uplink_bytes_per_round=uplink / rounds,
        downlink_bytes_per_round=downlink / rounds,
        bytes_per_device_round=(uplink + downlink) / sum(len(devices) for devices in sampled),
        seconds_per_round=total / rounds,
        total_seconds=total + delivery_seconds,
        exact_seconds=exact,
        server_seconds_per_round=sum(time.server_seconds * count for time, count in times) / weights,
        joules_per_round=sum(value * count for value, count in joules) / weights if len(joules) == len(times) else None,
        delivery_bytes=work.network_bytes,
        delivery_seconds=delivery_seconds,
        replay_bytes=forecast.kept_bytes(course),
        timeline=max((time for time, _ in times), key=lambda time: len(time.spans)).timeline(),
    )


def _delivery(
    config: Config, work: Workload, held_out: Sequence[int], fleet: Fleet
) -> tuple[Ledger, float, Sequence[Step]]:
    """Bytes and seconds of what comes after the last round, and its steps on the device with the most to test."""
    if not work.network_bytes:
        return {}, 0.0, ()
    forecast = Forecast(Delivery, config, work, held_out)
    exchanges = forecast.exchanges([Visit(device, 0) for device in range(len(held_out))])
    seconds = Clock(Delivery, config, work, held_out, fleet).round(exchanges).seconds
    return by_kind(exchanges), seconds, forecast.steps(Stop(samples=max(held_out)))


def _total(ledger: Ledger, direction: str) -> int:
    return sum(row[direction] for row in ledger.values())


def _sum(one: Ledger, other: Ledger) -> Ledger:
    nothing = {"uplink": 0, "downlink": 0}
    return {
        kind: {way: one.get(kind, nothing)[way] + other.get(kind, nothing)[way] for way in nothing}
        for kind in {**one, **other}
    }


def _ledger(forecast: Forecast, course: Course) -> dict[str, dict[str, int]]:
    """Bytes of the whole run; equal visits are worked out once."""
    counts: Counter[Hashable] = Counter()
    examples = {}
    for visit, times in course.visits.items():
        key = forecast.stop(visit)
        counts[key] += times
        examples[key] = visit
    ledger: dict[str, dict[str, int]] = {}
    for key, visit in examples.items():
        for kind, row in by_kind(forecast.exchanges([visit])).items():
            total = ledger.setdefault(kind, {"uplink": 0, "downlink": 0})
            for direction, count in row.items():
                total[direction] += count * counts[key]
    return ledger


def _times(
    forecast: Forecast, clock: Clock, course: Course, most_rounds: int
) -> tuple[list[tuple[RoundTime, float]], bool]:
    """The time of each kind of round, and how many there are of it."""
    fleet, slowness = clock.fleet, clock.availability.slowness
    kinds = [
        (count, *fleet.pattern(device), forecast.work.kind(device)) for device, count in enumerate(forecast.samples)
    ]

    def members(round_: int, one: RoundCourse) -> Hashable:
        found = [(*v.make_up, slowness(v.device, round_), kinds[v.device]) for v in one.visits]
        return tuple(sorted(found)), one.server_steps, one.late != ()

    rounds = list(enumerate(course.rounds, start=1))
    alike = len(set(kinds)) == 1 and not clock.availability.changes_time  # then it does not matter who is visited
    keys: Sequence[Hashable] = course.make_ups if alike else [members(*one) for one in rounds]
    counts = Counter(keys)
    examples = dict(reversed(list(zip(keys, rounds, strict=True))))  # the first of each kind
    weights = _weights(counts, most_rounds)
    times = []
    for kind, weight in weights.items():
        round_, one = examples[kind]
        in_time = forecast.exchanges([visit for visit in one.visits if visit.device not in one.late])
        time = clock.round(in_time, one.server_steps, round_=round_, waited=bool(one.late))
        times.append((time, weight))
    return times, len(weights) == len(counts)


def _weights(counts: Counter[Hashable], most: int) -> dict[Hashable, float]:
    """Which kinds of rounds are worked out, and how many rounds each stands for: the common ones, and some others."""
    if len(counts) <= most:
        return dict(counts)
    common = [kind for kind, count in counts.most_common(most // 2) if count > 1]
    others = [kind for kind in counts if kind not in common]
    places = most - len(common)
    chosen = [others[at * len(others) // places] for at in range(places)]
    rest = sum(counts[kind] for kind in others) / places
    return {kind: counts[kind] for kind in common} | dict.fromkeys(chosen, rest)
