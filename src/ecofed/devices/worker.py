"""The device worker with PyTorch: every method's handlers."""

from __future__ import annotations

from pathlib import Path

from ecofed.config.task import Task
from ecofed.devices.answering import Answering, Handlers
from ecofed.devices.inference import TorchFront
from ecofed.devices.kept_network import KeptNetwork
from ecofed.devices.local_data import LocalData
from ecofed.devices.training import LocalTrainer
from ecofed.registry import messages_of
from ecofed.registry import methods as plugin_methods
from ecofed.wire import (
    ApplyGradient,
    AskStatistics,
    InstallFront,
    InstallNetwork,
    Refresh,
    SendImages,
    ServerLogits,
    StartSplit,
    TrainDistilled,
    TrainLocally,
    TrainWhole,
    speak,
)


def _of_plugin(task: Task, data: LocalData) -> Handlers:
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


class DeviceWorker(Answering):
    """One device."""

    def __init__(self, task: Task, data: LocalData, network: Path | None = None) -> None:
        trainer = LocalTrainer(task, data)
        frozen = TorchFront(task, data)
        handlers: Handlers = {
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
        }
        super().__init__(task, handlers, _of_plugin(task, data))
