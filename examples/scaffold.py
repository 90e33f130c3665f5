"""SCAFFOLD (Karimireddy et al., ICML 2020): FedAvg whose devices are told where the others go.

Each device's gradients are corrected by what all devices do on average minus what it does itself (control variates).
Here the server keeps the variates of all devices: it can work them out from the networks that come back, so devices
need remember nothing, and send half of what they would in the paper. Local steps are plain SGD, without momentum::

    ecofed compare quickstart --plugin examples/scaffold.py --methods classic-fl,scaffold --set learning_rate=0.05
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim import SGD

import ecofed
from ecofed.config.schema import Config
from ecofed.costs.steps import Step, Stop, Work, epochs
from ecofed.costs.workload import Workload
from ecofed.devices.training import LocalTrainer, Mean
from ecofed.errors import ConfigError
from ecofed.methods.base import Context, Method, RoundOutcome, expect, mean, under
from ecofed.methods.channel import Ask
from ecofed.methods.plausible import check_loss
from ecofed.models import WeightedAverage, load_arrays, parameter_arrays, state_arrays
from ecofed.wire import Message, TrainedWhole, carried, round_number
from ecofed.wire.fields import TensorDict, Tensors


@dataclass(frozen=True, kw_only=True)
class TrainCorrected(Message):
    """Request: train the whole network, adding the correction to every gradient."""

    round: int = round_number()
    weights: Tensors = carried(TensorDict("weights"))
    correction: Tensors = carried(TensorDict("weights"))


class Corrected(LocalTrainer):
    """The device's side; it answers with a built-in message."""

    answers: ClassVar[dict[type[Message], str]] = {TrainCorrected: "train"}

    def train(self, request: TrainCorrected) -> TrainedWhole:
        model = self.whole
        load_arrays(model, request.weights)
        correction = {name: torch.from_numpy(array) for name, array in request.correction.items()}
        optimiser, losses = SGD(model.parameters(), lr=self.task.config.learning_rate), Mean()
        for samples_B, view in self.data.batches(request.round):
            loss = F.cross_entropy(model(self.data.inputs(samples_B, view)), self.data.labels(samples_B))
            optimiser.zero_grad()
            loss.backward()
            for name, parameter in model.named_parameters():
                if parameter.grad is not None:
                    parameter.grad += correction[name].to(parameter.grad.device)
            optimiser.step()
            losses.add(loss, len(samples_B))
        weights = parameter_arrays(model)
        return TrainedWhole(round=request.round, samples=len(self.data), loss=losses.value, weights=weights)


@ecofed.register
class Scaffold(Method):
    """The server's side."""

    name = "scaffold"
    labels_leave_device = cuts_network = False
    colour, marker = "#5b3a8c", "d"
    messages = (TrainCorrected,)
    Device = Corrected

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """FedAvg with control variates."""

        server_learning_rate: float = 1.0
        """How far the server goes towards the average of what comes back."""

        def __post_init__(self) -> None:
            if not 0 < self.server_learning_rate <= 10:
                rate = self.server_learning_rate
                raise ConfigError(f"scaffold.server_learning_rate = {rate!r}: must be above 0 and at most 10")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.none = {name: np.zeros_like(array) for name, array in parameter_arrays(self.model).items()}
        self.common = dict(self.none)
        self.own: dict[int, dict[str, np.ndarray]] = {}

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        sent, average, losses, replies = state_arrays(self.model), WeightedAverage(), [], {}

        def ask(device: int) -> list[Ask]:  # each device is asked something else
            own = self.own.get(device, self.none)
            correction = {name: self.common[name] - own[name] for name in self.common}
            return [Ask(request=TrainCorrected(round=round_, weights=sent, correction=correction), reply=TrainedWhole)]

        for device, reply in self.channel.visit(sampled, ask, self._checked):
            replies[device] = reply
            if reply.samples:
                average.add(reply.weights, self.weight(reply.samples))
                losses.append(reply.loss)
        # Only now, when enough devices have answered, does anything change: a round that fails leaves no trace.
        self.counts.keep({device: reply.samples for device, reply in replies.items()})
        if losses:
            news = {device: self._variate(device, sent, reply) for device, reply in replies.items() if reply.samples}
            for name in self.common:
                gain = sum(new[name] - self.own.get(device, self.none)[name] for device, new in news.items())
                self.common[name] = self.common[name] + gain / np.float32(self.config.devices)
            self.own |= news
            rate, target = np.float32(self.settings.server_learning_rate), average.result()
            load_arrays(self.model, {name: sent[name] + rate * (target[name] - sent[name]) for name in target})
        return RoundOutcome(train_loss=mean(losses))

    def _variate(self, device: int, sent: Mapping[str, np.ndarray], reply: TrainedWhole) -> dict[str, np.ndarray]:
        """Option II of the paper: the device's own part of a mean step in this round."""
        own = self.own.get(device, self.none)
        length = np.float32(len(epochs(self.config, reply.samples)) * self.config.learning_rate)
        return {
            name: own[name] - self.common[name] + (sent[name] - reply.weights[name]) / length for name in self.common
        }

    def _checked(self, device: int, replies: Sequence[Message]) -> TrainedWhole:
        (reply,) = replies
        assert isinstance(reply, TrainedWhole)  # the channel takes no other
        self.counts.check(device, reply.samples)
        check_loss(reply.loss)
        self.check_weights(reply.weights, self.model)
        return reply

    # What the next round depends on besides the network: without it a resumed run would be another.

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = super().state()
        arrays |= {f"common/{name}": array for name, array in self.common.items()}
        for device, own in self.own.items():
            arrays |= {f"own/{device}/{name}": array for name, array in own.items()}
        return arrays, values | {"devices": sorted(self.own)}

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super().load_state(arrays, values)
        self.common = self._read("common/", arrays)
        self.own = {device: self._read(f"own/{device}/", arrays) for device in values["devices"]}

    def _read(self, prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = under(prefix, arrays)
        return {name: expect(prefix + name, found[name], np.float32, *zero.shape) for name, zero in self.none.items()}

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        """What a visit to a device costs, for forecast, plan and simulated time."""
        yield Step(
            request=TrainCorrected,
            down={"weights": work.whole.tensors, "correction": work.whole.parameters},
            device=[Work("train", (work.whole,), epochs(config, stop.samples))],
            reply=TrainedWhole,
            up={"weights": work.whole.parameters},
        )
