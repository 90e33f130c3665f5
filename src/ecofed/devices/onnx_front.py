"""The frozen front run by ONNX Runtime: no PyTorch on the device."""

from __future__ import annotations

import numpy as np

from ecofed.config.task import Task
from ecofed.devices.frozen_front import FrozenFront
from ecofed.devices.local_images import LocalImages
from ecofed.errors import DeviceError, ModelError
from ecofed.onnx import DeviceBundle, Session, front_to_onnx
from ecofed.wire import FrontBundle


class OnnxFront(FrozenFront):
    """Builds an ONNX graph from the weights that it is sent; a front of another network must have been brought along.

    Args:
        task: as on every device.
        data: this device's images.
        exported: what ``ecofed export`` wrote, where there is one; used when the server asks for the same front.
    """

    #: Passes of 100 small images take 70 MB more, for no more speed.
    most = 10

    def __init__(self, task: Task, data: LocalImages, exported: DeviceBundle | None = None) -> None:
        super().__init__(task, data)
        self._exported = exported
        self._session: Session | None = None

    def load(self, bundle: bytes) -> FrontBundle:
        decoded = FrontBundle.decode(bundle)
        self.check_fits(decoded)
        config = self.task.config
        if self._exported is not None and self._exported.front_id == decoded.id:
            model = self._exported.front
        else:
            model = front_to_onnx(decoded, config.normalisation)
        session = Session(model, threads=config.threads)
        # Tried before it replaces the front that is here: ONNX Runtime finds out most of what does not fit only now.
        shape = session(np.zeros((2, decoded.in_channels, decoded.input_size, decoded.input_size), np.float32)).shape
        if shape != (2, *decoded.activation_shape):
            raise ModelError(
                f"the front's activation has shape {shape[1:]}; its bundle says {decoded.activation_shape}"
            )
        self._session = session
        return decoded

    def activations(self, samples_B: np.ndarray, view: int) -> np.ndarray:
        if self._session is None:
            raise DeviceError("no front is installed on this device")
        return self._session(self.data.arrays(samples_B, view))
