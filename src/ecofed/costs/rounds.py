"""The order of events in a round, for each method: exchanges become tasks for the schedule.

Devices work in parallel, each behind a link of its own; the server works on one thing at a time, first come, first
served. Averaging networks on the server and the tests after a round take no simulated time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ecofed.config import Config
from ecofed.costs.exchange import Exchange
from ecofed.costs.profiles import Link, Machine
from ecofed.costs.schedule import SERVER, Task
from ecofed.costs.workload import EarlyFront, Segment, Workload

#: Images of one pass where an activation depends on its own image alone (what the device worker does).
_INFERENCE_CHUNK = 100
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

    config: Config
    work: Workload
    fleet: Fleet
    samples: Mapping[int, int] | Sequence[int]
    """Training samples of each device."""
    slowness: Callable[[int], float] | None = None
    """By which factor a device computes and sends more slowly than its profiles say."""
    tasks: list[Task] = field(default_factory=list)
    _known: dict[tuple[object, ...], float] = field(default_factory=dict)
    """Seconds of a batch, by what is done with it."""

    def build(
        self, exchanges: Sequence[Exchange], server_steps: int, deadline: float | None = None
    ) -> list[Task] | None:
        """The tasks of a round; ``None`` for a method whose order of events is not known here.

        ``server_steps``: SGD steps that the server makes after the uploads (ecofed, send-images). ``deadline``: until
        when it waits for a device that is too late.
        """
        builder = _BUILDERS.get(self.config.method)
        if builder is None:
            return None
        own: dict[int, list[Exchange]] = {}
        for exchange in exchanges:
            own.setdefault(exchange.device, []).append(exchange)
        last: tuple[int, ...] = ()
        ends: list[int] = []
        for device, sequence in own.items():
            in_turn = self.config.method == "vanilla-dpfl" and self.config.vanilla_dpfl.version == "v2"
            last = builder(self, device, sequence, last if in_turn else ())
            ends += last
        if deadline is not None:
            ends += self._add((SERVER, "patience"), deadline, "wait", ())
        if server_steps:
            trained = self.work.whole if self.config.method == "send-images" else self.work.back
            step = trained.training_seconds(self.fleet.server, self.config.batch_size)
            self._add((SERVER, "compute"), server_steps * step, "train", tuple(ends))
        return self.tasks

    # --- one method each: returns the tasks that end the device's part ---

    def _classic(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        for exchange in exchanges:
            after = self._down(device, exchange.downlink_bytes, after)
            seconds = sum(self._train(device, batch, self.work.whole) for batch in self._batches(device))
            after = self._up(device, exchange.uplink_bytes, self._compute(device, seconds, "train", after))
        return after

    def _vanilla(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        machine, front, back = self.fleet.machine(device), self.work.front, self.work.back
        batches = self._batches(device)
        for step, exchange in enumerate(exchanges):
            after = self._down(device, exchange.downlink_bytes, after)
            if step > 0:  # the gradient of the last batch has arrived
                batch = batches[step - 1]
                seconds = self._batch("train", front, machine, batch) - self._batch("forward", front, machine, batch)
                after = self._compute(device, seconds, "train", after)
            if step < len(batches):
                seconds = self._batch("forward", front, machine, batches[step]) + self._prepare(device, batches[step])
                after = self._compute(device, seconds, "train", after)
            after = self._up(device, exchange.uplink_bytes, after)
            if step < len(batches):
                seconds = self._batch("train with input", back, self.fleet.server, batches[step])
                after = self._server(seconds, after)
        return after

    def _lgl(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        for exchange in exchanges:
            after = self._down(device, exchange.downlink_bytes, after)
            batches = self._batches(device)
            seconds = [self._train(device, batch, self.work.front, self.work.auxiliary) for batch in batches]
            after = self._stream(device, exchange, batches, seconds, "train", after, self._serve)
        return after

    def _fedgkt(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        parts = (self.work.front, self.work.auxiliary)
        for exchange in exchanges:
            after = self._down(device, exchange.downlink_bytes, after)
            if exchange.request == "ServerLogits":
                after = self._up(device, exchange.uplink_bytes, after)
                continue
            seconds = sum(self._train(device, batch, *parts) for batch in self._batches(device))
            after = self._compute(device, seconds, "train", after)
            batches = _split(self.samples[device], self.config.batch_size)
            passes = [self._infer(device, batch, *parts) for batch in batches]
            after = self._stream(device, exchange, batches, passes, "infer", after, self._serve)
        return after

    def _ecofed(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        early = self.work.early[device % len(self.work.early)]
        front = self.work.frozen_front if early is None else early.front
        serve = None if early is None else partial(self._complete, early)
        for exchange in exchanges:
            after = self._down(device, exchange.downlink_bytes, after)
            if exchange.request != "Refresh":
                after = self._up(device, exchange.uplink_bytes, after)
                continue
            chunks = _split(self.samples[device], refresh_chunk(self.config, self.work, self.work.kind(device)))
            seconds = [self._infer(device, chunk, front) for chunk in chunks]
            after = self._stream(device, exchange, chunks, seconds, "infer", after, serve)
        return after

    def _send_images(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        for exchange in exchanges:
            after = self._up(device, exchange.uplink_bytes, self._down(device, exchange.downlink_bytes, after))
        return after

    def _closed_form(self, device: int, exchanges: Sequence[Exchange], after: tuple[int, ...]) -> tuple[int, ...]:
        for exchange in exchanges:
            after = self._down(device, exchange.downlink_bytes, after)
            if exchange.request == "AskStatistics":
                chunks = _split(self.samples[device], _INFERENCE_CHUNK)
                seconds = sum(self._infer(device, chunk, self.work.frozen_front) for chunk in chunks)
                after = self._compute(device, seconds, "infer", after)
            after = self._up(device, exchange.uplink_bytes, after)
        return after

    # --- parts of a round ---

    def _stream(
        self,
        device: int,
        exchange: Exchange,
        batches: Sequence[int],
        seconds: Sequence[float],
        kind: str,
        after: tuple[int, ...],
        serve: Callable[[Sequence[int], tuple[int, ...]], tuple[int, ...]] | None,
    ) -> tuple[int, ...]:
        """Compute piece by piece and send; ``serve`` is what the server does with batches that have arrived."""
        streamed = sum(exchange.uplink.get(name, 0) for name in _STREAMED)
        rest = exchange.uplink_bytes - streamed
        samples = max(1, sum(batches))
        served: tuple[int, ...] = ()
        if not self.fleet.overlap or not batches:
            arrived = self._up(device, exchange.uplink_bytes, self._compute(device, sum(seconds), kind, after))
            return serve(batches, arrived) if serve else arrived
        size = -(-len(batches) // PIECES)
        for at in range(0, len(batches), size):
            piece = batches[at : at + size]
            after = self._compute(device, sum(seconds[at : at + size]), kind, after)
            sent = self._up(device, streamed * sum(piece) / samples, after)
            if serve:
                served = serve(piece, (*sent, *served))
        return (*self._up(device, rest, after), *served)

    def _serve(self, batches: Sequence[int], after: tuple[int, ...]) -> tuple[int, ...]:
        """The server trains its copy of the back on batches that have arrived."""
        server = self.fleet.server
        return self._server(sum(self._batch("train", self.work.back, server, batch) for batch in batches), after)

    def _complete(self, early: EarlyFront, batches: Sequence[int], after: tuple[int, ...]) -> tuple[int, ...]:
        """The server runs the rest of the front on what a device that stops early has sent."""
        server = self.fleet.server
        seconds = sum(self._batch("infer", early.middle, server, batch) for batch in batches)
        return self._add((SERVER, "compute"), seconds, "infer", after)

    def _batches(self, device: int) -> list[int]:
        """Batch sizes of the local epochs."""
        return _split(self.samples[device], self.config.batch_size) * self.config.local_epochs

    def _train(self, device: int, batch: int, *parts: Segment) -> float:
        seconds = sum(self._batch("train", part, self.fleet.machine(device), batch) for part in parts)
        return seconds + self._prepare(device, batch)

    def _infer(self, device: int, batch: int, *parts: Segment) -> float:
        seconds = sum(self._batch("infer", part, self.fleet.machine(device), batch) for part in parts)
        return seconds + self._prepare(device, batch)

    def _prepare(self, device: int, batch: int) -> float:
        """From stored images to network input."""
        return batch * self.fleet.machine(device).sample_overhead_seconds

    def _batch(self, what: str, part: Segment, machine: Machine, batch: int) -> float:
        """Seconds of one batch; the sums over all layers are worked out once."""
        key = (what, id(part), id(machine), batch)
        if key not in self._known:
            self._known[key] = {
                "infer": lambda: part.inference_seconds(machine, batch),
                "forward": lambda: part.forward_seconds(machine, batch),
                "train": lambda: part.training_seconds(machine, batch),
                "train with input": lambda: part.training_seconds(machine, batch, input_gradient=True),
            }[what]()
        return self._known[key]

    def _compute(self, device: int, seconds: float, kind: str, after: tuple[int, ...]) -> tuple[int, ...]:
        return self._add((str(device), "compute"), seconds, kind, after)

    def _server(self, seconds: float, after: tuple[int, ...]) -> tuple[int, ...]:
        return self._add((SERVER, "compute"), seconds, "train", after)

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


_BUILDERS: dict[str, Callable[[RoundTasks, int, Sequence[Exchange], tuple[int, ...]], tuple[int, ...]]] = {
    "classic-fl": RoundTasks._classic,
    "vanilla-dpfl": RoundTasks._vanilla,
    "lgl": RoundTasks._lgl,
    "fedgkt": RoundTasks._fedgkt,
    "ecofed": RoundTasks._ecofed,
    "send-images": RoundTasks._send_images,
    "closed-form": RoundTasks._closed_form,
}


def refresh_chunk(config: Config, work: Workload, kind: int = 0) -> int:
    """Images of one pass of an ecofed device: a batch where batches have statistics or scales of their own.

    ``kind`` is its place in ``work.early``; codecs of fronts that stop early have constant limits.
    """
    scaled = work.scaled_batches and work.early[kind] is None
    return config.batch_size if config.normalisation == "batch" or scaled else _INFERENCE_CHUNK


def _split(samples: int, size: int) -> list[int]:
    """Batch sizes; the last may be smaller."""
    return [min(size, samples - at) for at in range(0, samples, size)]
