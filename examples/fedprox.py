"""FedProx (Li et al., MLSys 2020): FedAvg whose devices are pulled back to the network that they were sent.

A whole method in one file, with settings, messages and a device side of its own::

    ecofed compare quickstart --plugin examples/fedprox.py --methods classic-fl,fedprox --set fedprox.mu=0.1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F

import ecofed
from ecofed.config.schema import Config
from ecofed.costs.steps import Step, Stop, Work, epochs
from ecofed.costs.workload import Workload
from ecofed.devices.training import LocalTrainer, Mean, step
from ecofed.errors import ConfigError
from ecofed.methods.base import Method, RoundOutcome, mean
from ecofed.methods.plausible import check_loss
from ecofed.models import WeightedAverage, load_arrays, parameter_arrays, state_arrays
from ecofed.wire import Message, carried, round_number
from ecofed.wire.fields import Real, TensorDict, Tensors, UInt


@dataclass(frozen=True, kw_only=True)
class TrainNear(Message):
    """Request: train the whole network, and stay near it."""

    round: int = round_number()
    mu: float = carried(Real())
    weights: Tensors = carried(TensorDict("weights"))


@dataclass(frozen=True, kw_only=True)
class TrainedNear(Message):
    """Reply."""

    round: int = round_number()
    samples: int = carried(UInt())
    loss: float = carried(Real())
    weights: Tensors = carried(TensorDict("weights"))


class Near(LocalTrainer):
    """The device's side."""

    answers: ClassVar[dict[type[Message], str]] = {TrainNear: "train"}

    def train(self, request: TrainNear) -> TrainedNear:
        model = self.whole
        load_arrays(model, request.weights)
        start = [parameter.detach().clone() for parameter in model.parameters()]
        optimiser, losses = self.sgd(model), Mean()
        for samples_B, view in self.data.batches(request.round):
            loss = F.cross_entropy(model(self.data.inputs(samples_B, view)), self.data.labels(samples_B))
            pull = sum(((now - then) ** 2).sum() for now, then in zip(model.parameters(), start, strict=True))
            step(optimiser, loss + request.mu / 2 * pull)
            losses.add(loss, len(samples_B))
        return TrainedNear(
            round=request.round, samples=len(self.data), loss=losses.value, weights=parameter_arrays(model)
        )


@ecofed.register
class FedProx(Method):
    """The server's side."""

    name = "fedprox"
    labels_leave_device = cuts_network = False
    colour, marker = "#7a4a12", "h"
    messages = (TrainNear, TrainedNear)
    Device = Near

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """FedAvg that stays near the server's network."""

        mu: float = 0.01
        """Strength of the pull towards the network that was sent."""

        def __post_init__(self) -> None:
            if not 0 <= self.mu <= 1000:
                raise ConfigError(f"fedprox.mu = {self.mu!r}: must be in 0..1000")

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        average, losses, samples = WeightedAverage(), [], {}
        request = TrainNear(round=round_, mu=self.settings.mu, weights=state_arrays(self.model))
        for device, reply in self.channel.broadcast(sampled, request, TrainedNear, self._checked):
            samples[device] = reply.samples
            if reply.samples:
                average.add(reply.weights, self.weight(reply.samples))
                losses.append(reply.loss)
        self.counts.keep(samples)
        if losses:
            load_arrays(self.model, average.result())
        return RoundOutcome(train_loss=mean(losses))

    def _checked(self, device: int, reply: TrainedNear) -> TrainedNear:
        self.counts.check(device, reply.samples)
        check_loss(reply.loss)
        self.check_weights(reply.weights, self.model)
        return reply

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        """What a visit to a device costs, for forecast, plan and simulated time."""
        train = Work("train", (work.whole,), epochs(config, stop.samples))
        weights = {"weights": work.whole.parameters}
        yield Step(
            request=TrainNear, down={"weights": work.whole.tensors}, device=[train], reply=TrainedNear, up=weights
        )
