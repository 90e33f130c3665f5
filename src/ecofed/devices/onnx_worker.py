"""The device worker without PyTorch: inference only, so it takes part in the methods that never train on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ecofed.config.methods import OURS, facts_of
from ecofed.config.task import Task
from ecofed.devices.answering import Answering, side_of
from ecofed.devices.frozen_front import OnFront
from ecofed.devices.local_images import LocalImages
from ecofed.devices.onnx_front import OnnxFront
from ecofed.onnx import DeviceBundle


class OnnxWorker(Answering):
    """One device, with the same messages as the PyTorch worker."""

    def __init__(
        self, task: Task, data: LocalImages, exported: DeviceBundle | None = None, network: Path | None = None
    ) -> None:
        side: Any = None
        refusal = None
        if facts_of(task.config.method).trains_on_device:
            refusal = f"is nothing for a device that has no PyTorch and cannot train; it takes part in {OURS}"
        else:
            kind = side_of(task.config.method)
            if kind is not None:
                side = kind(OnnxFront(task, data, exported)) if issubclass(kind, OnFront) else kind(task, data)
        super().__init__(task, data, side, network, refusal)
