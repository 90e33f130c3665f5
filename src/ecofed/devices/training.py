"""Training on the device: what the sides of those methods share that need it.

Weights always come with the request, and optimisers start afresh, so that a device need not keep state between rounds.
Batches are ``(x_BCHW, y_B)``; h is the activation.
"""

from __future__ import annotations

import math
import threading
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.config.task import Task
from ecofed.devices.local_data import LocalData
from ecofed.errors import DeviceError
from ecofed.models import (
    AuxiliaryClassifier,
    activation_shape,
    build_model,
    default_cut,
    empty_front,
    set_precision,
)
from ecofed.models.draws import draws
from ecofed.models.optimisers import SGD

DIVERGED = "training diverged: numbers are no longer finite; lower learning_rate"


class LocalTrainer:
    """Networks, batches and optimisers of one device; what a plug-in's device side builds on, too."""

    def __init__(self, task: Task, data: LocalData) -> None:
        self.task = task
        self.data = data

    def sgd(self, *modules: nn.Module) -> SGD:
        """A fresh optimiser of these modules."""
        config = self.task.config
        parameters = [parameter for module in modules for parameter in module.parameters()]
        return SGD(parameters, lr=config.learning_rate, momentum=config.momentum, fused=True)

    def _placed(self, module: nn.Module) -> nn.Module:
        return module.to(self.data.torch_device, memory_format=torch.channels_last).train()  # type: ignore[call-overload,no-any-return]

    def _trainable(self, module: nn.Module) -> nn.Module:
        return set_precision(self._placed(module), self.task.config.precision)

    # Built at the first request that needs it; every request loads its own weights before use.

    @property
    def whole(self) -> nn.Module:
        """The whole network, to be filled with weights."""
        return self._placed(_shared_whole(self.task))

    @cached_property
    def front(self) -> nn.Module:
        """The network up to the cut, to be filled with weights."""
        config = self.task.config
        cut = config.model.cut or default_cut(config.model.name)
        return self._trainable(empty_front(config.model, self.task.in_channels, cut, config.normalisation))

    @cached_property
    def draws(self) -> bool:
        """Whether the network's layers draw random numbers in training."""
        return draws(self.task.config.model.name, lambda: (_shared_whole(self.task), self.task))

    @cached_property
    def auxiliary(self) -> nn.Module:
        """A classifier on the front's activations, to be filled with weights."""
        return self._trainable(AuxiliaryClassifier(self.activation_shape, self.task.classes))

    @cached_property
    def activation_shape(self) -> tuple[int, int, int]:
        """(C, H, W) at the cut."""
        return activation_shape(self.front, self.task.in_channels, self.task.input_size)

    @property
    def no_activation(self) -> np.ndarray:
        """That of no sample."""
        return np.empty((0, *self.activation_shape), np.float32)


class _Shared(threading.local):
    """One whole network per thread: simulated devices take turns with it, and each loads all weights before use."""

    made: tuple[Any, ...] = ()
    network: nn.Module


_SHARED = _Shared()


def _shared_whole(task: Task) -> nn.Module:
    config = task.config
    wanted = (config.model, task.in_channels, task.classes, config.normalisation, config.precision)
    if _SHARED.made != wanted:
        model, channels, classes, normalisation, precision = wanted
        built = build_model(model, in_channels=channels, classes=classes, normalisation=normalisation)
        _SHARED.made, _SHARED.network = wanted, set_precision(built, precision)
    return _SHARED.network


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


def array(tensor: Tensor) -> np.ndarray:
    """As it travels."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
