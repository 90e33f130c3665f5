"""fedgkt on the device."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from ecofed.config.task import Task
from ecofed.devices.local_data import LocalData, training_view
from ecofed.devices.training import LocalTrainer, Mean, array, step
from ecofed.errors import DeviceError
from ecofed.models import load_arrays, parameter_arrays
from ecofed.models.distillation import distillation_loss
from ecofed.wire import Acknowledge, Distilled, Message, ServerLogits, TrainDistilled

#: What half precision can say. Training ends at larger ones.
LARGEST_LOGIT = 65504.0


class Distiller(LocalTrainer):
    """Trains front and auxiliary classifier, and learns from the server's logits, which it keeps between rounds."""

    answers: ClassVar[dict[type[Message], str]] = {TrainDistilled: "train_distilled", ServerLogits: "keep_logits"}

    def __init__(self, task: Task, data: LocalData) -> None:
        super().__init__(task, data)
        self._server_logits_NK: np.ndarray | None = None

    def train_distilled(self, request: TrainDistilled) -> Distilled:
        """The whole local epoch first, distilling from the server's last logits; then one inference pass.

        Batches keep a fixed order, because logits are matched to samples by position.
        """
        config = self.task.config
        front, auxiliary = self.front, self.auxiliary
        load_arrays(front, request.front)
        load_arrays(auxiliary, request.auxiliary)
        optimiser = self.sgd(front, auxiliary)
        losses = Mean()
        for samples_B, view in self.data.batches(request.round, shuffled=False):
            logits_BK = auxiliary(front(self.data.inputs(samples_B, view)))
            loss = F.cross_entropy(logits_BK, self.data.labels(samples_B))
            if self._server_logits_NK is not None:
                teacher_BK = torch.from_numpy(self._server_logits_NK[samples_B]).to(logits_BK.device)
                loss = loss + config.fedgkt.alpha * distillation_loss(logits_BK, teacher_BK, config.fedgkt.temperature)
            step(optimiser, loss)
            losses.add(loss, len(samples_B))
        activations, logits = [], []
        with torch.no_grad():
            for start in range(0, len(self.data), config.batch_size):
                samples_B = np.arange(start, min(start + config.batch_size, len(self.data)))
                h_BCHW = front(self.data.inputs(samples_B, training_view(request.round)))
                activations.append(array(h_BCHW))
                logits.append(array(auxiliary(h_BCHW)))
        return Distilled(
            round=request.round,
            loss=losses.value,
            front=parameter_arrays(front),
            auxiliary=parameter_arrays(auxiliary),
            activation_NCHW=np.concatenate(activations) if activations else self.no_activation,
            labels_N=self.data.labels_N,
            logits_NK=np.concatenate(logits) if logits else np.empty((0, self.task.classes), np.float32),
        )

    def keep_logits(self, request: ServerLogits) -> Acknowledge:
        """The server's answer, for the next time this device is sampled."""
        expected = (len(self.data), self.task.classes)
        if request.logits_NK.shape != expected:
            raise DeviceError(f"server logits of shape {request.logits_NK.shape}, not {expected}")
        if request.logits_NK.size and np.abs(request.logits_NK).max() > LARGEST_LOGIT:
            raise DeviceError(f"server logits above {LARGEST_LOGIT:g}: nothing can be learned from them")
        self._server_logits_NK = request.logits_NK
        return Acknowledge(round=request.round)
