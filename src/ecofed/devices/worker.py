"""The device worker with PyTorch: request bytes in, reply bytes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecofed.config.registry import messages_of
from ecofed.config.task import Task
from ecofed.devices.answering import Answering, side_of
from ecofed.devices.frozen_front import OnFront
from ecofed.devices.inference import TorchFront
from ecofed.devices.local_data import LocalData
from ecofed.wire import speak


class DeviceWorker(Answering):
    """One device that takes part in any method."""

    def __init__(self, task: Task, data: LocalData, network: Path | None = None) -> None:
        speak(messages_of(task.config.method))
        super().__init__(task, data, _side(task, data), network)


def _side(task: Task, data: LocalData) -> Any:
    side = side_of(task.config.method)
    if side is None:
        return None
    return side(TorchFront(task, data)) if issubclass(side, OnFront) else side(task, data)
