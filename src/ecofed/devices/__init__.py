"""The device side: handlers of encoded requests. A device never holds a parameter of the back (classic-fl excepted).

``DeviceWorker`` needs PyTorch and is imported on first use; ``OnnxWorker`` needs ONNX Runtime instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecofed.devices.local_images import LocalImages
from ecofed.devices.onnx_worker import OnnxWorker

if TYPE_CHECKING:
    from ecofed.devices.local_data import LocalData
    from ecofed.devices.worker import DeviceWorker

__all__ = ["DeviceWorker", "LocalData", "LocalImages", "OnnxWorker"]


def __getattr__(name: str) -> Any:
    if name == "DeviceWorker":
        from ecofed.devices.worker import DeviceWorker

        return DeviceWorker
    if name == "LocalData":
        from ecofed.devices.local_data import LocalData

        return LocalData
    raise AttributeError(f"module 'ecofed.devices' has no attribute '{name}'")
