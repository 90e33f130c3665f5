"""classic-fl on the device."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F

from ecofed.config.methods import cosine
from ecofed.devices.training import LocalTrainer, Mean, step
from ecofed.models import load_arrays, parameter_arrays
from ecofed.wire import Message, TrainedWhole, TrainWhole


class WholeTrainer(LocalTrainer):
    """Trains the whole network."""

    answers: ClassVar[dict[type[Message], str]] = {TrainWhole: "train_whole"}

    def train_whole(self, request: TrainWhole) -> TrainedWhole:
        """Local epochs of SGD on the whole network."""
        model = self.whole
        load_arrays(model, request.weights)
        optimiser = self.sgd(model)
        config = self.task.config
        if config.classic_fl.schedule == "cosine":
            optimiser.param_groups[0]["lr"] *= cosine((request.round - 1) / config.rounds)
        losses = Mean()
        for samples_B, view in self.data.batches(request.round):
            loss = F.cross_entropy(model(self.data.inputs(samples_B, view)), self.data.labels(samples_B))
            step(optimiser, loss)
            losses.add(loss, len(samples_B))
        return TrainedWhole(
            round=request.round, samples=len(self.data), loss=losses.value, weights=parameter_arrays(model)
        )
