"""The device worker without PyTorch: inference only, so it takes part in the methods that never train on a device."""

from __future__ import annotations

from pathlib import Path

from ecofed.config.task import Task
from ecofed.devices.answering import Answering, Handlers
from ecofed.devices.kept_network import KeptNetwork
from ecofed.devices.local_images import LocalImages
from ecofed.devices.onnx_front import OnnxFront
from ecofed.onnx import DeviceBundle
from ecofed.wire import AskStatistics, InstallFront, InstallNetwork, Refresh, SendImages


class OnnxWorker(Answering):
    """One device, with the same messages as the PyTorch worker."""

    cannot = "this device has no PyTorch and cannot train; it takes part in ecofed"

    def __init__(
        self, task: Task, data: LocalImages, exported: DeviceBundle | None = None, network: Path | None = None
    ) -> None:
        front = OnnxFront(task, data, exported)
        handlers: Handlers = {
            InstallFront: front.install,
            Refresh: front.refresh,
            AskStatistics: front.statistics,
            SendImages: data.send,
            InstallNetwork: KeptNetwork(network).install,
        }
        super().__init__(task, handlers)
