"""The device worker with PyTorch: request bytes in, reply bytes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecofed.config.registry import messages_of
from ecofed.config.task import Task
from ecofed.devices.answering import Answering, side_of
from ecofed.devices.frozen_front import OnFront
from ecofed.devices.inference import TorchFront
from ecofed.devices.local_data import LocalData
from ecofed.devices.training import LocalTrainer
from ecofed.models.draws import keyed_draws
from ecofed.wire import Message, speak


class DeviceWorker(Answering):
    """One device that takes part in any method."""

    def __init__(self, task: Task, data: LocalData, network: Path | None = None) -> None:
        speak(messages_of(task.config.method))
        self._side = _side(task, data)
        super().__init__(task, data, self._side, network)

    def _answer(self, handler: Callable[[Any], Message], message: Message) -> Message:
        side = self._side
        if not isinstance(side, LocalTrainer):
            return super()._answer(handler, message)
        seed, device = side.task.config.seed, side.data.device
        # Every message of a visit has draws of its own: split training sends one a batch.
        round_, step = getattr(message, "round", 0), getattr(message, "step", -1) + 1
        with keyed_draws(side.draws, seed, "device-layers", device=device, round_=round_, view=step):
            return super()._answer(handler, message)


def _side(task: Task, data: LocalData) -> Any:
    side = side_of(task.config.method)
    if side is None:
        return None
    return side(TorchFront(task, data)) if issubclass(side, OnFront) else side(task, data)
