"""The device worker without PyTorch: inference only, so it takes part in the methods that never train on a device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecofed.config.task import Task
from ecofed.devices.kept_network import KeptNetwork
from ecofed.devices.local_images import LocalImages
from ecofed.devices.onnx_front import OnnxFront
from ecofed.errors import EcoFedError, WireError
from ecofed.onnx import DeviceBundle
from ecofed.wire import (
    AskStatistics,
    Failure,
    InstallFront,
    InstallNetwork,
    Message,
    Refresh,
    SendImages,
    decode,
    encode,
)


class OnnxWorker:
    """One device: request bytes in, reply bytes out, with the same messages as the PyTorch worker."""

    def __init__(
        self, task: Task, data: LocalImages, exported: DeviceBundle | None = None, network: Path | None = None
    ) -> None:
        front = OnnxFront(task, data, exported)
        self._handlers: dict[type[Message], Callable[[Any], Message]] = {
            InstallFront: front.install,
            Refresh: front.refresh,
            AskStatistics: front.statistics,
            SendImages: data.send,
            InstallNetwork: KeptNetwork(network).install,
        }

    def handle(self, request: bytes) -> bytes:
        """Answer one encoded request. What a user or the network can cause becomes a ``Failure`` reply."""
        try:
            message, _ = decode(request)
            handler = self._handlers.get(type(message))
            if handler is None:
                raise WireError(
                    f"{type(message).__name__}: this device has no PyTorch and cannot train; it takes part in ecofed"
                )
            return encode(handler(message)).data
        except EcoFedError as error:
            return encode(Failure(reason=str(error))).data
