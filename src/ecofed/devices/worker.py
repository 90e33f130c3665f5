"""The device worker (PyTorch): request bytes in, reply bytes out. Nothing else crosses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecofed.config.task import Task
from ecofed.devices.inference import TorchFront
from ecofed.devices.kept_network import KeptNetwork
from ecofed.devices.local_data import LocalData
from ecofed.devices.training import LocalTrainer
from ecofed.errors import EcoFedError, WireError
from ecofed.registry import messages_of
from ecofed.registry import methods as plugin_methods
from ecofed.wire import (
    ApplyGradient,
    AskStatistics,
    Failure,
    InstallFront,
    InstallNetwork,
    Message,
    Refresh,
    SendImages,
    ServerLogits,
    StartSplit,
    TrainDistilled,
    TrainLocally,
    TrainWhole,
    decode,
    encode,
    speak,
)


def _of_plugin(task: Task, data: LocalData) -> dict[type[Message], Callable[[Any], Message]]:
    """The handlers that a plug-in's method brings."""
    entry = plugin_methods().get(task.config.method)
    if entry is None:
        return {}
    speak(messages_of(task.config.method))
    side = getattr(entry.cls, "Device", None)
    if side is None:
        return {}
    device = side(task, data)
    return {request: getattr(device, name) for request, name in side.answers.items()}


class DeviceWorker:
    """One device. What a user or the network can cause becomes a ``Failure`` reply; a bug raises."""

    def __init__(self, task: Task, data: LocalData, network: Path | None = None) -> None:
        trainer = LocalTrainer(task, data)
        frozen = TorchFront(task, data)
        self._handlers: dict[type[Message], Callable[[Any], Message]] = {
            TrainWhole: trainer.train_whole,
            StartSplit: trainer.start_split,
            ApplyGradient: trainer.apply_gradient,
            TrainLocally: trainer.train_locally,
            TrainDistilled: trainer.train_distilled,
            ServerLogits: trainer.keep_logits,
            InstallFront: frozen.install,
            Refresh: frozen.refresh,
            AskStatistics: frozen.statistics,
            SendImages: data.send,
            InstallNetwork: KeptNetwork(network).install,
            **_of_plugin(task, data),
        }

    def handle(self, request: bytes) -> bytes:
        """Answer one encoded request."""
        try:
            message, _ = decode(request)
            handler = self._handlers.get(type(message))
            if handler is None:
                raise WireError(f"{type(message).__name__} is not a request that a device answers")
            return encode(handler(message)).data
        except EcoFedError as error:
            return encode(Failure(reason=str(error))).data
