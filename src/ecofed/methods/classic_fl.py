"""Classic federated learning: FedAvg of the whole network (McMahan et al., AISTATS 2017).

Each round the server sends the network to the sampled devices, each trains it on its own data, and the server averages
what comes back, weighted by sample count (or equally, as the EcoFed paper does). Instead of taking the average as it
is, the server may take what it changed for a gradient, and make a step of SGD with momentum (FedAvgM; Hsu et al., 2019)
or of Adam (FedAdam; Reddi et al., ICLR 2021, algorithm 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ecofed.config.methods import ClassicFLConfig, ClassicFLFacts
from ecofed.config.schema import Config
from ecofed.costs.steps import Step, Stop, Work, epochs
from ecofed.costs.workload import Workload
from ecofed.methods.base import Context, Method, RoundOutcome, expect, mean, under
from ecofed.methods.plausible import check_loss
from ecofed.models import WeightedAverage, load_arrays, state_arrays
from ecofed.wire import TrainedWhole, TrainWhole


class ClassicFL(ClassicFLFacts, Method):
    """Whole network down, whole network up."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._server = ServerOptimiser(context.config.classic_fl)

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        average, losses, samples = WeightedAverage(), [], {}
        request = TrainWhole(round=round_, weights=state_arrays(self.model))
        for device, reply in self.channel.broadcast(sampled, request, TrainedWhole, self._checked):
            samples[device] = reply.samples
            if reply.samples:
                average.add(reply.weights, self.weight(reply.samples))
                losses.append(reply.loss)
        self.counts.keep(samples)
        if losses:
            load_arrays(self.model, self._server.step(state_arrays(self.model), average.result()))
        return RoundOutcome(train_loss=mean(losses), trained=bool(losses))

    def _checked(self, device: int, reply: TrainedWhole) -> TrainedWhole:
        self.counts.check(device, reply.samples)
        check_loss(reply.loss)
        self.check_weights(reply.weights, self.model)
        return reply

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        yield Step(
            request=TrainWhole,
            down={"weights": work.whole.tensors},
            device=[Work("train", (work.whole,), epochs(config, stop.samples))],
            reply=TrainedWhole,
            up={"weights": work.whole.parameters},
        )

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays, values = super().state()
        return arrays | self._server.state(), values

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        super().load_state(arrays, values)
        self._server.load_state(arrays)


class ServerOptimiser:
    """From the network that was sent and the devices' average to the next network."""

    #: FedAdam's second decay, and what keeps its steps finite where nothing has changed yet (Reddi et al., section 5).
    BETA_2, TAU = 0.99, 1e-3

    def __init__(self, settings: ClassicFLConfig) -> None:
        self._settings = settings
        self._moments: dict[str, dict[str, np.ndarray]] = {"first": {}, "second": {}}

    def step(self, sent: Mapping[str, np.ndarray], average: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The next parameters; those of ``average`` where the server only averages."""
        settings = self._settings
        if settings.server == "average":
            return average
        first, second = self._moments["first"], self._moments["second"]
        beta, following = settings.server_momentum, {}
        for name, array in average.items():
            change = array - sent[name]
            if settings.server == "momentum":
                direction = first[name] = beta * first.get(name, np.float32(0)) + change
            else:
                first[name] = beta * first.get(name, np.float32(0)) + (1 - beta) * change
                second[name] = self.BETA_2 * second.get(name, np.float32(0)) + (1 - self.BETA_2) * change**2
                direction = first[name] / (np.sqrt(second[name]) + self.TAU)
            following[name] = (sent[name] + settings.server_learning_rate * direction).astype(np.float32)
        return following

    def state(self) -> dict[str, np.ndarray]:
        """Arrays that the next step depends on."""
        return {f"{kind}/{name}": array for kind, moments in self._moments.items() for name, array in moments.items()}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Inverse of :meth:`state`."""
        self._moments = {kind: under(f"{kind}/", arrays) for kind in self._moments}
        for name, array in ((name, array) for moments in self._moments.values() for name, array in moments.items()):
            expect(name, array, np.float32, *arrays[f"model/{name}"].shape)
