"""A device's own images, as tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ecofed.config.task import Task
from ecofed.data.stored import ImageRows
from ecofed.devices.account import Account
from ecofed.devices.local_images import LocalImages
from ecofed.randomness import permutation

#: Views used by training rounds and by uploads are numbered apart, so that no two draws share a key.
TRAINING_VIEWS = 1 << 24
#: A view is a 32-bit number: so many local epochs have views of their own.
_OWN_EPOCHS = 255


def training_view(round_: int, epoch: int = 0) -> int:
    """Which augmented view of its images a device trains on."""
    return TRAINING_VIEWS * (1 + epoch % _OWN_EPOCHS) + round_


class LocalData(LocalImages):
    """What a device with PyTorch makes of its images: tensors, and the batches of its local epochs."""

    def __init__(
        self,
        task: Task,
        device: int,
        images_NHWC: ImageRows,
        labels_N: np.ndarray,
        torch_device: str = "cpu",
        account: Account | None = None,
    ) -> None:
        super().__init__(task, device, images_NHWC, labels_N, account)
        self.torch_device = torch.device(torch_device)

    def inputs(self, samples_B: np.ndarray, view: int) -> Tensor:
        """:meth:`arrays` as a tensor (B, C, input_size, input_size) on the training device."""
        x_BCHW = torch.from_numpy(self.arrays(samples_B, view))
        return x_BCHW.to(self.torch_device).contiguous(memory_format=torch.channels_last)

    def labels(self, samples_B: np.ndarray) -> Tensor:
        """Labels (B,) int64 on the training device."""
        return torch.from_numpy(self.labels_N[samples_B].astype(np.int64)).to(self.torch_device)

    def batches(self, round_: int, *, shuffled: bool = True) -> Iterator[tuple[np.ndarray, int]]:
        """Sample numbers (B,) and view of each batch of the local epochs; an epoch's last batch may be smaller."""
        config = self.task.config
        for epoch in range(config.local_epochs):
            order = (
                permutation(config.seed, "device-batches", len(self), device=self.device, round_=round_, view=epoch)
                if shuffled
                else np.arange(len(self))
            )
            for start in range(0, len(self), config.batch_size):
                yield order[start : start + config.batch_size], training_view(round_, epoch)
