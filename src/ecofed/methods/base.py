"""What every method is given, and what it must be able to do."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.activations import Pool, ReplayBuffer, Samples, Uploads
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.costs.steps import Script
from ecofed.errors import DeviceError, ModelError
from ecofed.methods.channel import Channel
from ecofed.methods.plausible import SampleCounts, check_parameters, check_size
from ecofed.methods.refusals import DivergedError
from ecofed.models import Partition, activation_shape, load_arrays, state_arrays
from ecofed.models.optimisers import SGD
from ecofed.wire import FrontBundle, Message


@dataclass(frozen=True, kw_only=True)
class Context:
    """Everything a method gets."""

    task: Task
    channel: Channel
    model: nn.Module
    """The whole network, initialised as the configuration says, on ``torch_device``."""
    halves: Partition
    """The network cut in two; it shares its parameters with ``model``."""
    bundle: FrontBundle | None = None
    """Of a method that needs a frozen front."""
    early: Sequence[FrontBundle | None] = (None,)
    """What device ``d`` of ``ecofed`` is sent: ``early[d % len(early)]``, a front that stops early, or ``None`` for the
    whole of ``bundle``."""
    torch_device: torch.device
    image_size: tuple[int, int] = (32, 32)
    """Height and width of what the network sees of the data set's images, before their border."""
    published: bool = False
    """Whether the network starts from weights that others have published (``model.weights``)."""
    samples: Sequence[int] | None = None
    """How many samples each device has, where the server divided the data; ``None`` where devices bring their own."""
    folder: Path | None = None
    """The run's folder, for what is too large for memory; ``None``: nothing is written."""

    @property
    def config(self) -> Config:
        return self.task.config


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """What a method says about a round it has just run."""

    train_loss: float | None = None
    refreshed: bool | None = None
    saturated_fraction: float | None = None
    trained: bool | None = None
    """Whether the network learned anything; ``None``: it has where there is a loss, it has not where no device
    answered."""
    server_steps: int = 0
    """SGD steps on the replay buffer, for the clock."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Keeping:
    """What a server can learn from again when a run has ended, without asking anybody."""

    buffer: ReplayBuffer
    bundle: FrontBundle
    """The front that made it, with the back's matching expansion."""
    front_id: str
    """Of the front as devices run it."""
    uploads: Mapping[int, Uploads]
    """What each device ever uploaded, and when."""
    seen: Mapping[int, int]
    """How many samples each device has offered so far: those from this number on are new."""
    forgotten: Mapping[int, list[int]] = field(default_factory=dict)
    """What was deleted from a buffer that this one continues (:class:`ecofed.runs.kept_buffer.Origin`)."""
    before: int = 0
    """Rounds of the runs that this one continues."""


class Method(Script):
    """A training scheme, as a program on the server."""

    messages: ClassVar[Sequence[type[Message]]] = ()
    """Of a plug-in: its own messages, beside the built-in ones."""
    asks_devices: ClassVar[bool] = True
    """``False``: it learns from what was kept of another run."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.config = context.config
        self.settings: Any = context.config.of_method(context.config.method)
        self.channel = context.channel
        self.model = context.model
        self.halves = context.halves
        self.counts = SampleCounts(context.samples)
        self.channel.when_forgotten = self.device_forgot

    @abstractmethod
    def train_round(self, round_: int, sampled: Sequence[int]) -> RoundOutcome:
        """Run round ``round_`` (from 1) with the sampled devices (ascending)."""

    def test_input(self, x_NCHW: Tensor) -> Tensor:
        """What :meth:`logits` is called with for these test images, computed once for the whole run."""
        return x_NCHW

    def logits(self, x_NCHW: Tensor) -> Tensor:
        """The current network's answers (N, K)."""
        output: Tensor = self.model(x_NCHW)
        return output

    def held_out(self) -> Pool | None:
        """Of a method that keeps uploads, what is not trained on; ``None`` of nothing."""
        return None

    def kept_input(self, view: Samples, rows_B: np.ndarray) -> Tensor:
        """What :meth:`logits` is called with for these rows of an upload that the server keeps."""
        raise NotImplementedError(f"{self.config.method} keeps no uploads")

    def told_labels(self, device: int) -> np.ndarray | None:
        """How many samples of each class a device's uploads have told the server, int64 (K,); ``None``: nothing."""
        keeping = self.keeping()
        return None if keeping is None else keeping.buffer.told_labels(device, self.context.task.classes)

    def network(self) -> dict[str, np.ndarray]:
        """Parameters and statistics of the whole network as trained so far."""
        return state_arrays(self.model)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything that the next round depends on: arrays, and JSON values."""
        arrays = {f"model/{name}": array for name, array in state_arrays(self.model).items()}
        return arrays, {"samples": self.counts.state()}

    def load_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        load_arrays(self.model, under("model/", arrays))
        self.counts.load_state(values.get("samples", {}))

    def keeping(self) -> Keeping | None:
        """The replay buffer, of a method that has one."""
        return None

    def device_forgot(self, device: int) -> None:
        """A device was started anew: whatever this method told it before is gone."""

    # --- the vocabulary that the methods are written in ---

    def weight(self, samples: int) -> float:
        """A device's weight in an average: its samples, or 1 (none without samples)."""
        return float(samples if self.config.aggregation == "samples" else samples > 0)

    def sgd(self, module: nn.Module) -> SGD:
        """A fresh optimiser."""
        return SGD(module.parameters(), lr=self.config.learning_rate, momentum=self.config.momentum, fused=True)

    def trained_copy(
        self, module: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
    ) -> tuple[nn.Module, list[float]]:
        """A copy of the module after a step on each batch (h_BCHW, y_B), and the losses."""
        copied = copy.deepcopy(module).train()
        optimiser = self.sgd(copied)
        return copied, [train_on(copied, optimiser, *batch) for batch in batches]

    def tensor(self, array: np.ndarray) -> Tensor:
        """An array that arrived, on the server's training device."""
        tensor = torch.from_numpy(array).to(self.context.torch_device)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    def labels(self, array: np.ndarray) -> Tensor:
        """Labels that arrived, as class numbers.

        Raises:
            DeviceError: a label that no class has.
        """
        if len(array) and int(array.max()) >= self.context.task.classes:
            raise DeviceError(f"label {int(array.max())} of {self.context.task.classes} classes")
        return torch.from_numpy(array.astype(np.int64)).to(self.context.torch_device)

    def check_activation(self, array: np.ndarray, samples: int) -> None:
        """Raise :class:`DeviceError` unless the array is the activation of so many samples, and bearable."""
        if array.shape != (samples, *self._activation_shape):
            raise DeviceError(f"activation of shape {array.shape}, not {(samples, *self._activation_shape)}")
        check_size("activations", array)

    def check_weights(self, arrays: Mapping[str, np.ndarray], module: nn.Module) -> None:
        """Raise an error unless the arrays are the module's parameters after training: all of them, nothing else.

        Raises:
            ModelError: other names or shapes. DivergedError: numbers of absurd size.
        """
        expected = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
        if {name: array.shape for name, array in arrays.items()} != expected:
            wrong = sorted(arrays.keys() ^ expected.keys()) or [n for n in expected if arrays[n].shape != expected[n]]
            raise ModelError(f"weights that do not fit the network ('{wrong[0][:100]}')")
        check_parameters(arrays, lambda name: module.get_parameter(name).detach().cpu().numpy())

    def check_trained(self, module: nn.Module, before: nn.Module) -> None:
        """Raise :class:`DivergedError` if training on what a device sent made numbers of absurd size."""
        trained = {name: parameter.detach().cpu().numpy() for name, parameter in module.named_parameters()}
        check_parameters(trained, lambda name: before.get_parameter(name).detach().cpu().numpy())

    @cached_property
    def _activation_shape(self) -> tuple[int, int, int]:
        return activation_shape(self.halves.front, self.context.task.in_channels, self.context.task.input_size)

    def batches(self, count: int) -> list[slice]:
        """Consecutive slices of the configured batch size; the last may be smaller."""
        size = self.config.batch_size
        return [slice(at, min(at + size, count)) for at in range(0, count, size)]


def check_converging(loss: float) -> None:
    """Raise :class:`DivergedError` for a loss that is not finite."""
    if not math.isfinite(loss):
        raise DivergedError("the loss is not finite: training diverged; lower learning_rate")


def train_on(model: nn.Module, optimiser: SGD, h_BCHW: Tensor, y_B: Tensor) -> float:
    """One cross-entropy step on one batch; returns its loss, which must be finite (:class:`DivergedError`)."""
    loss = F.cross_entropy(model(h_BCHW), y_B)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    value = float(loss.detach())
    check_converging(value)
    return value


def expect(name: str, array: np.ndarray, dtype: type, *shape: int) -> np.ndarray:
    """An array of a checkpoint that must have this type and shape. Raises ``ValueError`` otherwise."""
    if array.dtype != np.dtype(dtype) or array.shape != shape:
        raise ValueError(f"'{name}' is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    return array


def under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def mean(values: Sequence[float]) -> float | None:
    """The mean, or ``None`` of nothing."""
    return sum(values) / len(values) if values else None
