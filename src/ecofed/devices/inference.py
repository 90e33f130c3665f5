"""The frozen front run by PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ecofed.config.task import Task
from ecofed.devices.frozen_front import FrozenFront
from ecofed.devices.local_data import LocalData
from ecofed.errors import DeviceError
from ecofed.models.fronts import front_by_bytes
from ecofed.wire import FrontBundle


class TorchFront(FrozenFront):
    """Simulated devices with the same front share one copy of it."""

    def __init__(self, task: Task, data: LocalData) -> None:
        super().__init__(task, data)
        self._local = data
        self._front: nn.Module | None = None

    def load(self, bundle: bytes) -> FrontBundle:
        self.check_fits(FrontBundle.decode(bundle))
        front, decoded = front_by_bytes(bundle, self.task.config.normalisation)
        self._front = front.to(self._local.torch_device)
        return decoded

    @torch.no_grad()
    def activations(self, samples_B: np.ndarray, view: int) -> np.ndarray:
        if self._front is None:
            raise DeviceError("no front is installed on this device")
        h_BCHW = self._front(self._local.inputs(samples_B, view))
        return np.asarray(h_BCHW.cpu().numpy())
