"""A run that goes on: what its rounds change, and what is made of it at any time."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecofed.config import Config
from ecofed.costs.availability import Availability
from ecofed.costs.clock import Clock
from ecofed.costs.ledger import Ledger
from ecofed.methods import Channel, Context, Method, method_class
from ecofed.methods.restoring import restore
from ecofed.methods.transport import Transport
from ecofed.pretraining.resolve import starts_published
from ecofed.results import RoundRecord, RunResult
from ecofed.results.scores import RunScores
from ecofed.runs.again import Again
from ecofed.runs.at_once import networks_at_once
from ecofed.runs.brought import as_told, bringing
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from ecofed.runs.preparation import Prepared
from ecofed.runs.recording import checkpoint_of, result_of
from ecofed.runs.timekeeping import clock_of
from ecofed.wire import speak


@dataclass(kw_only=True)
class Going:
    """A run between two rounds."""

    prepared: Prepared
    ledger: Ledger
    channel: Channel
    method: Method
    clock: Clock | None
    command: str
    notes: list[str]
    records: list[RoundRecord]
    """Of the rounds that have ended."""
    seconds_before: float
    """Of earlier processes, until the checkpoint that this one continued from."""
    own_data: Collection[int] = ()
    """Devices that brought pictures of their own; more may come."""
    delivery_seconds: float = 0.0
    """What came after the last round took by the clock."""
    began: float = field(default_factory=time.perf_counter)

    @property
    def config(self) -> Config:
        return self.prepared.task.config

    @property
    def seconds(self) -> float:
        """How long it has taken, all processes together."""
        return self.seconds_before + time.perf_counter() - self.began

    def nothing_yet(self) -> RunResult:
        """What is known before the first round."""
        return self._told(result_of(self.prepared, self.ledger, [], self.method, 0.0, self.command, self.notes))

    def result(self, scores: RunScores) -> RunResult:
        """What it has come to."""
        ended = (self.method, self.seconds, self.command, self.notes, scores, self.delivery_seconds)
        return self._told(result_of(self.prepared, self.ledger, self.records, *ended))

    def _told(self, result: RunResult) -> RunResult:
        """With what devices told of pictures that the server did not deal them."""
        if not self.own_data and any(map(len, self.prepared.shares)):
            return result
        return replace(result, data=as_told(result.data, self.method, self.own_data))

    def checkpoint(self) -> Checkpoint:
        """What the next round depends on."""
        return checkpoint_of(self.prepared, self.records, self.ledger, self.method, self.seconds)


def start(
    prepared: Prepared,
    transport: Transport,
    folder: Path | None,
    checkpoint: Checkpoint | None,
    again: Again | None,
    command: str,
    notes: list[str],
    *,
    fleet: bool,
) -> Going:
    """The run at its first round, or behind the rounds of a checkpoint.

    Args:
        prepared: the problem.
        transport: the way to devices.
        folder: where the run is recorded, if it is.
        checkpoint: what it continues from.
        again: what it learns from, if not from devices.
        command: recorded.
        notes: recorded; others may still come.
        fleet: devices were there already, and bring what they have: how much is theirs to say.

    Raises:
        CheckpointError: it is none of this method's. ConfigError: a profile is none.
    """
    config, ledger = prepared.task.config, Ledger()
    channel = Channel(
        transport,
        ledger,
        quorum=config.quorum,
        deadline_seconds=config.deadline_seconds,
        availability=Availability(config),
        at_once=networks_at_once(prepared),
        devices=config.devices,
    )
    samples = None if fleet else [len(part) for part in prepared.parts]
    method = _method(prepared, channel, folder, samples, again)
    records: list[RoundRecord] = []
    if checkpoint is not None:
        restore(method, checkpoint.arrays, checkpoint.values, (folder or Path()) / CHECKPOINT_FILE)
        restored = Ledger.from_dict(checkpoint.ledger)
        ledger.bytes, ledger.retransmitted = restored.bytes, restored.retransmitted
        records += checkpoint.records
    own = bringing(transport)
    # With pictures of their own: the clock would time those that the server has instead.
    brought = own or prepared.summary.brought or not any(map(len, prepared.shares))
    clock = None if brought else clock_of(prepared, None if again is None else again.seen)
    if clock is not None:
        channel.too_late = clock.too_late
    return Going(
        prepared=prepared,
        ledger=ledger,
        channel=channel,
        method=method,
        clock=clock,
        command=command,
        notes=notes,
        records=records,
        seconds_before=0.0 if checkpoint is None else checkpoint.wall_seconds,
        own_data=own,
    )


def _method(
    prepared: Prepared, channel: Channel, folder: Path | None, samples: list[int] | None, again: Again | None
) -> Method:
    context = Context(
        task=prepared.task,
        channel=channel,
        model=prepared.model,
        halves=prepared.halves,
        bundle=prepared.bundle,
        early=prepared.early,
        torch_device=prepared.torch_device,
        image_size=_image_size(prepared),
        published=starts_published(prepared.task.config),
        samples=samples,
        folder=folder,
    )
    cls = method_class(prepared.task.config.method)
    speak(cls.messages)
    return cls(context) if again is None else again.method(context)


def _image_size(prepared: Prepared) -> tuple[int, int]:
    height, width = prepared.dataset.train.images_NHWC.shape[1:3]
    return (prepared.task.input_size,) * 2 if prepared.task.cover else (height, width)
