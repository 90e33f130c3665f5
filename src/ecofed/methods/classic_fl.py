"""Classic federated learning: FedAvg of the whole network (McMahan et al., AISTATS 2017).

Each round the server sends the network to the sampled devices, each trains it on its own data, and the server averages
what comes back, weighted by sample count (or equally, as the EcoFed paper does).
"""

from __future__ import annotations

from collections.abc import Sequence

from ecofed.methods.base import Method, RoundOutcome, mean
from ecofed.models import WeightedAverage, load_arrays, state_arrays
from ecofed.wire import TrainedWhole, TrainWhole


class ClassicFL(Method):
    """Whole network down, whole network up."""

    name = "classic-fl"
    labels_leave_device = False

    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        average, losses = WeightedAverage(), []
        request = TrainWhole(round=round_, weights=state_arrays(self.model))
        for _, reply in self.channel.broadcast(sampled, request, TrainedWhole, self._checked):
            if reply.samples:
                average.add(reply.weights, self.weight(reply.samples))
                losses.append(reply.loss)
        if losses:
            load_arrays(self.model, average.result())
        return RoundOutcome(train_loss=mean(losses))

    def _checked(self, _device: int, reply: TrainedWhole) -> TrainedWhole:
        self.check_weights(reply.weights, self.model)
        return reply
