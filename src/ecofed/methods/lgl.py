"""Local-loss learning (LGL; Han et al., 2021): the front learns on the device through an auxiliary classifier.

Activations go up and no gradient comes down. Front and auxiliary classifier are averaged like the backs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from torch import nn

from ecofed.config.methods import LGLFacts
from ecofed.config.schema import Config
from ecofed.costs.steps import Step, Stop, Work, activation, epochs, labels
from ecofed.costs.workload import Workload
from ecofed.errors import DeviceError
from ecofed.methods.base import Context, Method, RoundOutcome, mean, under
from ecofed.methods.channel import Ask
from ecofed.methods.plausible import check_loss
from ecofed.models import AuxiliaryClassifier, WeightedAverage, activation_shape, initialise, load_arrays, state_arrays
from ecofed.wire import Distilled, LocallyTrained, Message, TrainLocally

R = TypeVar("R", LocallyTrained, Distilled)


@dataclass(frozen=True)
class Trained(Generic[R]):
    """What one device sent, and the back that was trained on it."""

    reply: R
    back: nn.Module
    samples: int
    """How many the device has."""
    losses: list[float]
    """Of each batch; empty for a device without samples."""
    logits: list[np.ndarray] = field(default_factory=list)
    """The back's own of each batch, for fedgkt."""


class LocalLossMethod(Method):
    """What lgl and fedgkt share: an auxiliary classifier, and three networks to average."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        shape_CHW = activation_shape(self.halves.front, context.task.in_channels, context.task.input_size)
        auxiliary = AuxiliaryClassifier(shape_CHW, context.task.classes)
        initialise(auxiliary, context.config.seed)
        self.auxiliary = auxiliary.to(context.torch_device)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = super().state()
        return arrays | {f"auxiliary/{name}": array for name, array in state_arrays(self.auxiliary).items()}, values

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super().load_state(arrays, values)
        load_arrays(self.auxiliary, under("auxiliary/", arrays))

    def check_upload(self, device: int, reply: LocallyTrained | Distilled, passes: int) -> int:
        """Raise an error unless weights, activation and labels fit the networks, each other, and the device.

        Args:
            device: whose.
            reply: what it sent.
            passes: how often each sample's activation is in it.

        Returns:
            How many samples the device has.
        """
        samples, rest = divmod(len(reply.labels_N), passes)
        self.counts.check(device, samples)
        if rest:
            raise DeviceError(f"{len(reply.labels_N)} labels, which are not {passes} passes over its samples")
        check_loss(reply.loss)
        self.check_weights(reply.front, self.halves.front)
        self.check_weights(reply.auxiliary, self.auxiliary)
        self.check_activation(reply.activation_NCHW, len(self.labels(reply.labels_N)))
        return samples


class LGL(LGLFacts, LocalLossMethod):
    """Activations up, no gradients."""

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        fronts, auxiliaries, backs, losses = WeightedAverage(), WeightedAverage(), WeightedAverage(), []
        samples = {}
        request = TrainLocally(
            round=round_, front=state_arrays(self.halves.front), auxiliary=state_arrays(self.auxiliary)
        )
        opening = [Ask(request=request, reply=LocallyTrained)]
        for device, done in self.channel.visit_and_train(
            sampled, lambda _: opening, self._checked, lambda checked: self._train_back(*checked)
        ):
            samples[device] = done.samples
            losses += done.losses
            if done.losses:
                weight = self.weight(len(done.reply.labels_N))
                fronts.add(done.reply.front, weight)
                auxiliaries.add(done.reply.auxiliary, weight)
                backs.add(state_arrays(done.back), weight)
        self.counts.keep(samples)
        if losses:
            load_arrays(self.halves.front, fronts.result())
            load_arrays(self.auxiliary, auxiliaries.result())
            load_arrays(self.halves.back, backs.result())
        return RoundOutcome(train_loss=mean(losses), trained=bool(losses))

    def _checked(self, device: int, replies: Sequence[Message]) -> tuple[LocallyTrained, int]:
        """What it sent, and how many samples it has."""
        (reply,) = replies
        assert isinstance(reply, LocallyTrained)
        return reply, self.check_upload(device, reply, self.config.local_epochs)

    def _train_back(self, reply: LocallyTrained, samples: int) -> Trained[LocallyTrained]:
        """On a copy: a device on whose activations training diverges costs only itself."""
        labels_N = self.labels(reply.labels_N)
        # The device's own batches: the last of each epoch may be smaller.
        ends = np.cumsum(epochs(self.config, samples), dtype=np.int64).tolist()
        own = (slice(start, end) for start, end in pairwise([0, *ends]))
        batches = ((self.tensor(reply.activation_NCHW[batch]), labels_N[batch]) for batch in own)
        back, losses = self.trained_copy(self.halves.back, batches)
        self.check_trained(back, self.halves.back)
        return Trained(reply, back, samples, losses)

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        batches = epochs(config, stop.samples)
        yield Step(
            request=TrainLocally,
            down={"front": work.front.tensors, "auxiliary": work.auxiliary.tensors},
            device=[Work("train", (work.front, work.auxiliary), batches)],
            reply=LocallyTrained,
            up={
                "front": work.front.parameters,
                "auxiliary": work.auxiliary.parameters,
                "activation_NCHW": activation(work, sum(batches)),
                "labels_N": labels(work, sum(batches)),
            },
            server=[Work("train", (work.back,), batches)],
            streamed=True,
        )
