"""lgl on the device."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch.nn.functional as F

from ecofed.devices.training import LocalTrainer, Mean, array, step
from ecofed.models import load_arrays, parameter_arrays
from ecofed.wire import LocallyTrained, Message, TrainLocally


class LocalLossTrainer(LocalTrainer):
    """Trains front and auxiliary classifier."""

    answers: ClassVar[dict[type[Message], str]] = {TrainLocally: "train_locally"}

    def train_locally(self, request: TrainLocally) -> LocallyTrained:
        """Front and auxiliary classifier learn from the local loss; the server gets each batch's activation."""
        front, auxiliary = self.front, self.auxiliary
        load_arrays(front, request.front)
        load_arrays(auxiliary, request.auxiliary)
        optimiser = self.sgd(front, auxiliary)
        losses, activations, order = Mean(), [], []
        for samples_B, view in self.data.batches(request.round):
            h_BCHW = front(self.data.inputs(samples_B, view))
            activations.append(array(h_BCHW))
            order.append(samples_B)
            loss = F.cross_entropy(auxiliary(h_BCHW), self.data.labels(samples_B))
            step(optimiser, loss)
            losses.add(loss, len(samples_B))
        return LocallyTrained(
            round=request.round,
            loss=losses.value,
            front=parameter_arrays(front),
            auxiliary=parameter_arrays(auxiliary),
            activation_NCHW=np.concatenate(activations) if activations else self.no_activation,
            labels_N=self.data.labels_N[np.concatenate(order)] if order else self.data.labels_N,
        )
