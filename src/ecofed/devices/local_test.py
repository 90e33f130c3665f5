"""How good a network is on the samples that a device holds out. numpy and ONNX Runtime: every kind of device can."""

from __future__ import annotations

import numpy as np

from ecofed.activations import answers_by_the_batch
from ecofed.config.network_input import TEST_BATCH, images_at_once
from ecofed.config.task import Task
from ecofed.data.preparing import tested_input
from ecofed.devices.local_images import LocalImages
from ecofed.errors import DeviceError
from ecofed.onnx import Session


class LocalTest:
    """Of one device."""

    def __init__(self, task: Task, data: LocalImages) -> None:
        self._task = task
        self._data = data

    @property
    def wanted(self) -> bool:
        """Whether anything was held out here."""
        return self._task.config.validation.on_devices

    def counts(self, network: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Held-out samples of each class, and how many of them a network (an ONNX file) gets right: uint32 (K,).

        Raises:
            ModelError: it cannot be run. MissingExtraError: there is no ONNX Runtime. DeviceError: it is of another
                task.
        """
        images_NHWC, labels_N = self._data.held_out
        samples_K = np.bincount(labels_N, minlength=self._task.classes)
        right_K = np.zeros_like(samples_K)
        session = Session(network, threads=self._task.config.threads)
        by_batch = answers_by_the_batch(self._task.config)
        at_once = TEST_BATCH if by_batch else images_at_once(self._task.input_size)
        for at in range(0, len(labels_N), at_once):
            logits_BK = session(tested_input(images_NHWC[at : at + at_once], self._task))
            own_B = labels_N[at : at + at_once]
            if logits_BK.shape != (len(own_B), self._task.classes) or not np.isfinite(logits_BK).all():
                raise DeviceError(f"the network gives no {self._task.classes} finite numbers an image")
            right_K += np.bincount(own_B[logits_BK.argmax(axis=1) == own_B], minlength=self._task.classes)
        return samples_K.astype(np.uint32), right_K.astype(np.uint32)
