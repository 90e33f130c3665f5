"""What a run will put on the wire, message for message, from shapes alone; equal to the ledger of the real run.

Nothing is drawn here that the run does not draw in the same way: who uploads in which round, and whose activations are
replayed, follow from the seed and the configuration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from functools import cache

from ecofed.config import Config
from ecofed.costs.calendar import Calendar, Course, RoundCourse, Visit
from ecofed.costs.exchange import Exchange
from ecofed.costs.workload import EarlyFront, Workload
from ecofed.wire import (
    Acknowledge,
    ApplyGradient,
    Distilled,
    FrontInstalled,
    FrontTrained,
    InstallFront,
    LocallyTrained,
    Refresh,
    ServerLogits,
    SplitBatch,
    StartSplit,
    TrainDistilled,
    TrainedWhole,
    TrainLocally,
    TrainWhole,
    Upload,
)
from ecofed.wire.messages import Message, label_dtype
from ecofed.wire.sizes import ArrayShape, message_size

#: Hexadecimal digits of a front's id.
FRONT_ID = "0" * 32

Sized = tuple[type[Message], Mapping[str, int]]
Pair = tuple[Sized, Sized]


class Forecast:
    """Predicts the exchanges of one round after the other, from round 1.

    Args:
        config: the run.
        work: the network's costs.
        samples: training samples of each device.
    """

    def __init__(self, config: Config, work: Workload, samples: Sequence[int]) -> None:
        self.config = config
        self.work = work
        self.samples = samples
        self._labels = label_dtype(work.classes).str.lstrip("<|")
        self._pairs_of = cache(self._pairs)
        self.calendar = Calendar(
            config,
            samples,
            lambda device, first: _content(self._pairs_of(*self.key(Visit(device, 0 if first else 1)))),
            lambda visit, round_: self.too_late(visit, round_),
        )
        self.too_late: Callable[[Visit, int], bool] = lambda _visit, _round: False
        """Whether a visit in a round takes too long by the clock; whoever has a clock sets it."""

    def round(self, round_: int, sampled: Sequence[int]) -> tuple[list[Exchange], int]:
        """The round's exchanges in order, and the SGD steps that the server then makes on its buffer (ecofed)."""
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
        config, own = self.config, self.config.ecofed if self.config.method == "ecofed" else None
        key = (config.batch_size, config.rounds, config.seed, config.quorum, config.availability, own)
        course = (known or {}).get(key)
        if course is None:
            rounds = [self.course(round_, devices) for round_, devices in enumerate(sampled, start=1)]
            course = Course(tuple(rounds), self.calendar.uploaded)
            depends_on_cut = config.availability.deadline_seconds or (own and own.uplink_budget_bytes)
            if known is not None and not depends_on_cut:
                known[key] = course
        return course

    def exchanges(self, visits: Sequence[Visit]) -> list[Exchange]:
        """What these visits put on the wire, in order."""
        return [
            Exchange(
                device=visit.device,
                request=request[0].__name__,
                reply=reply[0].__name__,
                downlink=request[1],
                uplink=reply[1],
            )
            for visit in visits
            for request, reply in self._pairs_of(*self.key(visit))
        ]

    def judged(self, visit: Visit) -> list[Exchange]:
        """What a device has to do before the server knows whether it is in time."""
        return self.exchanges([dataclasses.replace(visit, lost=True)])

    def key(self, visit: Visit) -> tuple[int, bool, bool, bool, int]:
        """Equal for visits that put the same on the wire."""
        return self.samples[visit.device], visit.view == 0, visit.front, visit.lost, self.work.kind(visit.device)

    def message_bytes(self, samples: int, kind: int = 0) -> list[tuple[int, int]]:
        """Lengths of request and reply of each exchange in the first visit to a device with so many samples.

        ``kind`` is its place in ``work.early``.
        """
        pairs = self._pairs_of(samples, True, True, False, kind)
        return [(sum(request[1].values()), sum(reply[1].values())) for request, reply in pairs]

    # --- the methods ---

    def _pairs(self, samples: int, first: bool, with_front: bool, lost: bool, kind: int) -> list[Pair]:
        """Request and reply of each exchange in a visit to a device that has so many samples."""
        if self.config.method == "ecofed":
            return self._refresh(samples, first, with_front, self.work.early[kind] or self.work)
        messages = {
            "classic-fl": self._classic,
            "vanilla-dpfl": self._vanilla,
            "lgl": self._lgl,
            "fedgkt": self._fedgkt,
        }[self.config.method](samples)
        pairs = list(zip(messages[::2], messages[1::2], strict=True))
        return pairs[:1] if lost and self.config.method == "fedgkt" else pairs  # who is lost is sent no logits

    def _classic(self, samples: int) -> list[Sized]:  # noqa: ARG002 - weights do not depend on samples
        whole = self.work.whole
        return [_sized(TrainWhole, weights=whole.tensors), _sized(TrainedWhole, weights=whole.parameters)]

    def _vanilla(self, samples: int) -> list[Sized]:
        messages = [_sized(StartSplit, front=self.work.front.tensors)]
        for batch in self._batches(samples) * self.config.local_epochs:
            h_BCHW = ArrayShape((batch, *self.work.activation_shape))
            messages.append(_sized(SplitBatch, activation_BCHW=h_BCHW, labels_B=self._label(batch)))
            messages.append(_sized(ApplyGradient, gradient_BCHW=h_BCHW))
        return [*messages, _sized(FrontTrained, front=self.work.front.parameters)]

    def _lgl(self, samples: int) -> list[Sized]:
        rows = samples * self.config.local_epochs
        return [
            _sized(TrainLocally, front=self.work.front.tensors, auxiliary=self.work.auxiliary.tensors),
            _sized(
                LocallyTrained,
                front=self.work.front.parameters,
                auxiliary=self.work.auxiliary.parameters,
                activation_NCHW=ArrayShape((rows, *self.work.activation_shape)),
                labels_N=self._label(rows),
            ),
        ]

    def _fedgkt(self, samples: int) -> list[Sized]:
        logits_NK = ArrayShape((samples, self.work.classes))
        trained = [
            _sized(TrainDistilled, front=self.work.front.tensors, auxiliary=self.work.auxiliary.tensors),
            _sized(
                Distilled,
                front=self.work.front.parameters,
                auxiliary=self.work.auxiliary.parameters,
                activation_NCHW=ArrayShape((samples, *self.work.activation_shape)),
                labels_N=self._label(samples),
                logits_NK=logits_NK,
            ),
        ]
        answer = [_sized(ServerLogits, logits_NK=logits_NK), _sized(Acknowledge)]
        return trained + answer if samples else trained

    def _refresh(self, samples: int, first: bool, with_front: bool, front: Workload | EarlyFront) -> list[Pair]:
        """ecofed: the front for a device that has none, and one view; labels travel once."""
        scaled = isinstance(front, Workload) and front.scaled_batches
        scales = len(self._batches(samples)) if scaled else 0
        upload = _sized(
            Upload,
            front_id=FRONT_ID,
            codes=round(samples * (front.sent_row_bytes or front.row_bytes)),
            scales=ArrayShape((scales,)),
            labels_N=self._label(samples if first else 0),
        )
        pairs = [(_sized(Refresh, front_id=FRONT_ID), upload)]
        if with_front and self.config.ecofed.front_delivery == "download":
            install = _sized(InstallFront, bundle=front.bundle_bytes)
            pairs.insert(0, (install, _sized(FrontInstalled, front_id=FRONT_ID)))
        return pairs

    # --- sizes ---

    def _batches(self, samples: int) -> list[int]:
        size = self.config.batch_size
        return [min(size, samples - at) for at in range(0, samples, size)]

    def _label(self, count: int) -> ArrayShape:
        return ArrayShape((count,), self._labels)

    def buffer_bytes(self, course: Course) -> int:
        """What the server's replay buffer holds at the end: codes, scales, sample numbers and labels."""
        settings = self.config.ecofed
        bounded = settings.views or settings.uplink_budget_bytes
        per_row = self.work.row_bytes + 16 + (4 if self.work.scaled_batches else 0)
        return sum(
            self.samples[device] * (past.views if bounded else 1) * per_row for device, past in course.uploaded.items()
        )


def _content(pairs: Sequence[Pair]) -> int:
    """What an upload's budget counts: codes, scales and labels."""
    reply = pairs[-1][1][1]
    return reply.get("activations", 0) + reply.get("labels", 0)


def _sized(cls: type[Message], **values: object) -> Sized:
    return cls, message_size(cls, **values)
