"""Training on the device, for the methods that need it: classic-fl, vanilla-dpfl, lgl, fedgkt.

Weights always come with the request, and optimisers start afresh, so a device keeps no state between rounds but
fedgkt's logits. Batches are ``(x_BCHW, y_B)``; h is the activation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from ecofed.config.methods import cosine
from ecofed.config.problem import ModelConfig
from ecofed.config.task import Task
from ecofed.devices.local_data import LocalData, training_view
from ecofed.errors import DeviceError
from ecofed.models import (
    AuxiliaryClassifier,
    Precision,
    activation_shape,
    build_model,
    default_cut,
    empty_front,
    load_arrays,
    parameter_arrays,
    set_precision,
)
from ecofed.models.distillation import distillation_loss
from ecofed.wire import (
    Acknowledge,
    ApplyGradient,
    Distilled,
    FrontTrained,
    LocallyTrained,
    ServerLogits,
    SplitBatch,
    StartSplit,
    TrainDistilled,
    TrainedWhole,
    TrainLocally,
    TrainWhole,
)

#: What half precision can say. Training ends at larger ones.
LARGEST_LOGIT = 65504.0
DIVERGED = "training diverged: numbers are no longer finite; lower learning_rate"


class LocalTrainer:
    """Handlers of one device; what a plug-in's device side builds on."""

    def __init__(self, task: Task, data: LocalData) -> None:
        self.task = task
        self.data = data
        self._split: _SplitSession | None = None
        self._server_logits_NK: np.ndarray | None = None

    def train_whole(self, request: TrainWhole) -> TrainedWhole:
        """classic-fl: local epochs of SGD on the whole network."""
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

    def start_split(self, request: StartSplit) -> SplitBatch | FrontTrained:
        """vanilla-dpfl: take the front, send the first activation."""
        front = self._front
        load_arrays(front, request.front)
        self._split = _SplitSession(front, self.sgd(front), self.data.batches(request.round), request.round)
        return self._next_activation(self._split)

    def apply_gradient(self, request: ApplyGradient) -> SplitBatch | FrontTrained:
        """vanilla-dpfl: finish the backward pass of the last batch, send the next activation."""
        session = self._split
        if session is None or session.h_BCHW is None or (request.round, request.step) != (session.round, session.step):
            raise DeviceError(f"gradient for round {request.round} step {request.step} was not expected")
        gradient_BCHW = torch.from_numpy(request.gradient_BCHW)
        if gradient_BCHW.shape != session.h_BCHW.shape:
            raise DeviceError(f"gradient of shape {tuple(gradient_BCHW.shape)}, not {tuple(session.h_BCHW.shape)}")
        session.optimiser.zero_grad()
        session.h_BCHW.backward(gradient_BCHW.to(session.h_BCHW.device))  # type: ignore[no-untyped-call]
        session.optimiser.step()
        session.step += 1
        return self._next_activation(session)

    def train_locally(self, request: TrainLocally) -> LocallyTrained:
        """lgl: front and auxiliary classifier learn from the local loss; the server gets each batch's activation."""
        front, auxiliary = self._front, self._auxiliary
        load_arrays(front, request.front)
        load_arrays(auxiliary, request.auxiliary)
        optimiser = self.sgd(front, auxiliary)
        losses, activations, order = Mean(), [], []
        for samples_B, view in self.data.batches(request.round):
            h_BCHW = front(self.data.inputs(samples_B, view))
            activations.append(_array(h_BCHW))
            order.append(samples_B)
            loss = F.cross_entropy(auxiliary(h_BCHW), self.data.labels(samples_B))
            step(optimiser, loss)
            losses.add(loss, len(samples_B))
        return LocallyTrained(
            round=request.round,
            loss=losses.value,
            front=parameter_arrays(front),
            auxiliary=parameter_arrays(auxiliary),
            activation_NCHW=np.concatenate(activations) if activations else self._no_activation,
            labels_N=self.data.labels_N[np.concatenate(order)] if order else self.data.labels_N,
        )

    def train_distilled(self, request: TrainDistilled) -> Distilled:
        """fedgkt: the whole local epoch first, distilling from the server's last logits; then one inference pass.

        Batches keep a fixed order, because logits are matched to samples by position.
        """
        config = self.task.config
        front, auxiliary = self._front, self._auxiliary
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
                activations.append(_array(h_BCHW))
                logits.append(_array(auxiliary(h_BCHW)))
        return Distilled(
            round=request.round,
            loss=losses.value,
            front=parameter_arrays(front),
            auxiliary=parameter_arrays(auxiliary),
            activation_NCHW=np.concatenate(activations) if activations else self._no_activation,
            labels_N=self.data.labels_N,
            logits_NK=np.concatenate(logits) if logits else np.empty((0, self.task.classes), np.float32),
        )

    def keep_logits(self, request: ServerLogits) -> Acknowledge:
        """fedgkt: the server's answer, for the next time this device is sampled."""
        expected = (len(self.data), self.task.classes)
        if request.logits_NK.shape != expected:
            raise DeviceError(f"server logits of shape {request.logits_NK.shape}, not {expected}")
        if request.logits_NK.size and np.abs(request.logits_NK).max() > LARGEST_LOGIT:
            raise DeviceError(f"server logits above {LARGEST_LOGIT:g}: nothing can be learned from them")
        self._server_logits_NK = request.logits_NK
        return Acknowledge(round=request.round)

    def _next_activation(self, session: _SplitSession) -> SplitBatch | FrontTrained:
        batch = next(session.batches, None)
        if batch is None:
            self._split = None
            return FrontTrained(round=session.round, samples=len(self.data), front=parameter_arrays(session.front))
        samples_B, view = batch
        session.h_BCHW = session.front(self.data.inputs(samples_B, view))
        if not bool(torch.isfinite(session.h_BCHW).all()):
            raise DeviceError(DIVERGED)
        return SplitBatch(
            round=session.round,
            step=session.step,
            activation_BCHW=_array(session.h_BCHW),
            labels_B=self.data.labels_N[samples_B],
        )

    def sgd(self, *modules: nn.Module) -> SGD:
        """A fresh optimiser of these modules."""
        config = self.task.config
        parameters = [parameter for module in modules for parameter in module.parameters()]
        return SGD(parameters, lr=config.learning_rate, momentum=config.momentum)

    def _placed(self, module: nn.Module) -> nn.Module:
        return module.to(self.data.torch_device, memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]

    def _trainable(self, module: nn.Module) -> nn.Module:
        return set_precision(self._placed(module), self.task.config.precision)

    # Built at the first request that needs it; every request loads its own weights before use.

    @property
    def whole(self) -> nn.Module:
        """The whole network, to be filled with weights."""
        task, config = self.task, self.task.config
        shared = _shared_whole(config.model, task.in_channels, task.classes, config.normalisation, config.precision)
        return self._placed(shared)

    @cached_property
    def _front(self) -> nn.Module:
        config = self.task.config
        cut = config.model.cut or default_cut(config.model.name)
        return self._trainable(empty_front(config.model, self.task.in_channels, cut, config.normalisation))

    @cached_property
    def _auxiliary(self) -> nn.Module:
        return self._trainable(AuxiliaryClassifier(self._activation_shape, self.task.classes))

    @cached_property
    def _activation_shape(self) -> tuple[int, int, int]:
        return activation_shape(self._front, self.task.in_channels, self.task.input_size)

    @property
    def _no_activation(self) -> np.ndarray:
        return np.empty((0, *self._activation_shape), np.float32)


@lru_cache(maxsize=2)
def _shared_whole(
    config: ModelConfig, in_channels: int, classes: int, normalisation: str, precision: Precision
) -> nn.Module:
    """One whole network per process: simulated devices take turns with it, and each loads all weights before use."""
    model = build_model(config, in_channels=in_channels, classes=classes, normalisation=normalisation)
    return set_precision(model, precision)


class _SplitSession:
    """vanilla-dpfl between two messages."""

    def __init__(
        self, front: nn.Module, optimiser: SGD, batches: Iterator[tuple[np.ndarray, int]], round_: int
    ) -> None:
        self.front = front
        self.optimiser = optimiser
        self.batches = batches
        self.round = round_
        self.step = 0
        self.h_BCHW: Tensor | None = None


class Mean:
    """Mean loss over samples; 0 without any."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, loss: Tensor, count: int) -> None:
        self._sum += float(loss.detach()) * count
        self._count += count

    @property
    def value(self) -> float:
        """The mean.

        Raises:
            DeviceError: training diverged.
        """
        mean = self._sum / self._count if self._count else 0.0
        if not math.isfinite(mean):
            raise DeviceError(DIVERGED)
        return mean


def step(optimiser: SGD, loss: Tensor) -> None:
    """One optimisation step."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
