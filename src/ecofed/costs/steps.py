"""What a visit to a device costs, said once by each method; bytes, time, FLOPs and memory are readings of that script.

A script is a sequence of :class:`Step`: a request, what the device does about it, its reply, and what the server then
does. :mod:`ecofed.costs.forecast` reads its bytes, :mod:`ecofed.costs.rounds` its time, and this module what a device
has to compute and to hold.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from ecofed.config.facts import Facts
from ecofed.config.registry import broken, check_message_of
from ecofed.config.registry import methods as plugin_methods
from ecofed.config.registry.contract import kind_of
from ecofed.config.schema import Config
from ecofed.costs.agenda import Agenda
from ecofed.costs.profiles import Machine
from ecofed.costs.workload import Segment, Workload
from ecofed.errors import nearest
from ecofed.results import LEDGER_KINDS
from ecofed.wire.messages import Message, label_dtype, schema
from ecofed.wire.sizes import ArrayShape, message_size, misfit

#: Stands for a front's id, which has so many hexadecimal digits.
FRONT_ID = "0" * 32

What = Literal["train", "train with input", "forward", "backward", "infer"]


@dataclass(frozen=True, kw_only=True)
class Stop:
    """What the cost of a visit depends on, beside the configuration and the network."""

    samples: int
    """Of the device."""
    first: bool = True
    """Whether it is the device's first upload, with which what never changes travels (labels)."""
    front: bool = True
    """Whether it is sent the front."""
    lost: bool = False
    """Whether its answer is of no use: it was too late, or too few others answered."""
    kind: int = 0
    """The device's place in :attr:`Workload.early`."""


@dataclass(frozen=True)
class Work:
    """Parts of the network run on batches.

    ``train``: forward, backward and update; ``train with input``: the gradient of the part's input too; ``forward`` and
    ``backward``: the two halves of ``train``; ``infer``: a pass without gradients.
    """

    what: What
    parts: tuple[Segment, ...]
    batches: Sequence[int]
    """Samples of each."""

    @property
    def kind(self) -> str:
        """For timelines: ``infer`` or ``train``."""
        return "infer" if self.what == "infer" else "train"

    @property
    def flops(self) -> int:
        whole, forward = sum(part.training_flops() for part in self.parts), sum(part.flops for part in self.parts)
        one = {"train": whole, "infer": forward, "forward": forward, "backward": whole - forward}[self.what]
        return sum(self.batches) * one

    def memory(self, batch: int) -> int:
        """Bytes that it takes; ``batch`` is the most samples that are trained on at a time."""
        if self.what == "infer":
            return sum(part.inference_memory(max(self.batches, default=1)) for part in self.parts)
        return sum(part.training_memory(batch) for part in self.parts)

    def seconds(self, machine: Machine, batch: int) -> float:
        """Of one batch."""
        return sum(_SECONDS[self.what](part, machine, batch) for part in self.parts)

    def prepare_seconds(self, machine: Machine, batch: int) -> float:
        """From stored images to network input, on a device; a backward pass has had its input before."""
        return 0.0 if self.what == "backward" else batch * machine.sample_overhead_seconds


_SECONDS: dict[str, Callable[[Segment, Machine, int], float]] = {
    "train": lambda part, machine, batch: part.training_seconds(machine, batch),
    "train with input": lambda part, machine, batch: part.training_seconds(machine, batch, input_gradient=True),
    "forward": lambda part, machine, batch: part.forward_seconds(machine, batch),
    "backward": lambda part, machine, batch: (
        part.training_seconds(machine, batch) - part.forward_seconds(machine, batch)
    ),
    "infer": lambda part, machine, batch: part.inference_seconds(machine, batch),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A request, what the device does about it, the reply, and what the server does with that."""

    request: type[Message]
    reply: type[Message]
    down: Mapping[str, Any] = field(default_factory=dict)
    """The request's fields, as :func:`ecofed.wire.sizes.message_size` takes them."""
    up: Mapping[str, Any] = field(default_factory=dict)
    """The reply's."""
    device: Sequence[Work] = ()
    server: Sequence[Work] = ()
    """In as many batches as the device's last work."""
    streamed: bool = False
    """Whether the device may send the last work's results while it goes on."""
    counted: bool = True
    """``False``: the device has this already, nothing travels."""
    of_new: type[Message] | None = None
    """What a device is asked instead whose first samples an earlier run has: the same of the others."""

    @property
    def request_bytes(self) -> dict[str, int]:
        """By ledger kind."""
        return message_size(self.request, **self.down)

    @property
    def reply_bytes(self) -> dict[str, int]:
        """By ledger kind."""
        return message_size(self.reply, **self.up)


class Script(Facts, ABC):
    """What costs must know of a method; the methods' classes are scripts."""

    agenda: ClassVar[type[Agenda]] = Agenda
    """Whom the method asks in a round."""

    @classmethod
    @abstractmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        """What a visit to a device costs, step by step: the forecast, the clock and the planner read it."""

    @classmethod
    def tried_row_bytes(cls, config: Config, images_NHWC: np.ndarray, samples: int) -> float | None:  # noqa: ARG003
        """Bytes of one sample on its way where they depend on the images; ``None``: they do not.

        ``images_NHWC``: some to try it on; ``samples``: how many a device has.
        """
        return None

    @classmethod
    def in_turn(cls, config: Config) -> bool:  # noqa: ARG003
        """Whether a device's part of a round begins only when the one before has ended."""
        return False

    @classmethod
    def pooled_part(cls, work: Workload) -> Segment:
        """What the server trains on what it keeps."""
        return work.back

    @classmethod
    def kept_row_bytes(cls, work: Workload) -> int:
        """Bytes of one sample in what the server keeps, labels and numbers apart."""
        return work.row_bytes


def steps_of(script: type[Script], config: Config, work: Workload, stop: Stop) -> list[Step]:
    """The steps of a visit.

    Raises:
        ConfigError: those of a plug-in's method are none, or say of a message what it does not have.
    """
    steps = script.visit(config, work, stop)
    if script.name not in plugin_methods():
        return list(steps)
    if not isinstance(steps, Iterable):
        raise broken("method", script.name, f"visit returned {kind_of(steps)}; it must yield each Step")
    checked = list(steps)
    for step in checked:
        check_step(script.name, step)
    _check_leaving(script, checked)
    return checked


def check_step(method: str, step: Any) -> None:
    """Raise :class:`ConfigError` unless this is a step, and its messages have the sizes that it says."""
    if not isinstance(step, Step):
        raise broken("method", method, f"visit yields {kind_of(step)}; it must yield each Step")
    for name, message, values in (("down", step.request, step.down), ("up", step.reply, step.up)):
        if not (isinstance(message, type) and issubclass(message, Message)):
            raise broken("method", method, f"visit yields a step with {message!r}, which is no message class")
        check_message_of(method, message)
        if problem := misfit(message, values):
            raise broken("method", method, f"visit says '{name}' of {message.__name__}, which {problem}")
        for field_, written in schema(message):
            if written.kind not in LEDGER_KINDS:
                known = f"{nearest(written.kind, LEDGER_KINDS)}; it has {', '.join(LEDGER_KINDS)}"
                rule = f"counts '{field_}' as '{written.kind}', which the ledger does not have{known}"
                raise broken("method", method, f"message {message.__name__} {rule}")


def _check_leaving(script: type[Script], steps: Sequence[Step]) -> None:
    """Raise :class:`ConfigError` where tables would say that something stays on devices which a reply carries."""
    facts = {"labels": script.labels_leave_device, "images": script.images_leave_device}
    for step in steps:
        for name, written in schema(step.reply):
            if not facts.get(written.kind, True):
                rule = f"{written.kind}_leave_device is False, and {step.reply.__name__}.{name} carries {written.kind}"
                raise broken("method", script.name, f"{rule}; say {written.kind}_leave_device = True")


def device_flops(steps: Iterable[Step]) -> int:
    """FLOPs of the device in a visit."""
    return sum(work.flops for step in steps for work in step.device)


def device_memory(steps: Sequence[Step], batch: int) -> int:
    """The most bytes that a device needs beside its system: network, training, and the largest message."""
    messages = [sum(size.values()) for step in steps if step.counted for size in (step.request_bytes, step.reply_bytes)]
    works = [work.memory(batch) for step in steps for work in step.device]
    return max(works, default=0) + max(messages, default=0)


def trains_on_device(steps: Iterable[Step]) -> bool:
    """Whether the device does more than to run a network."""
    return any(work.kind == "train" for step in steps for work in step.device)


def split(samples: int, size: int) -> list[int]:
    """Batch sizes; the last may be smaller."""
    return [min(size, samples - at) for at in range(0, samples, size)]


def epochs(config: Config, samples: int) -> list[int]:
    """Batch sizes of a device's local epochs."""
    return split(samples, config.batch_size) * config.local_epochs


def labels(work: Workload, count: int) -> ArrayShape:
    """So many labels, as they travel."""
    return ArrayShape((count,), label_dtype(work.classes).str.lstrip("<|"))


def activation(work: Workload, count: int) -> ArrayShape:
    """So many samples' activation at the cut."""
    return ArrayShape((count, *work.activation_shape))
