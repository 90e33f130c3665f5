"""A frozen front on the device, inference only. numpy only; who runs the front is left to a subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ecofed.config.network_input import images_at_once
from ecofed.config.task import Task
from ecofed.devices.local_images import LocalImages
from ecofed.errors import DeviceError, ModelError
from ecofed.wire import FrontBundle, FrontInstalled, InstallFront

#: Of a layer. One image's activation in it may take 16 MB then.
MAX_CHANNELS = 4096


class FrozenFront(ABC):
    """Keeps the front it was sent, and runs it."""

    #: Images a pass where an activation depends on its own image alone; ``None``: what their size allows.
    most: int | None = None

    def __init__(self, task: Task, data: LocalImages) -> None:
        self.task = task
        self.data = data
        self._bundle: FrontBundle | None = None
        self.chunk = self.most or images_at_once(task.input_size)

    def held(self, front_id: str) -> FrontBundle:
        """The front that is here. Raises :class:`DeviceError` where it is not the one that is asked for."""
        if self._bundle is None:
            raise DeviceError("no front is installed on this device")
        if front_id != self._bundle.id:
            raise DeviceError(f"asked for front {front_id}; this device holds {self._bundle.id}")
        return self._bundle

    @abstractmethod
    def load(self, bundle: bytes) -> FrontBundle:
        """Make this the front that :meth:`activations` runs.

        Raises:
            WireError: not a front bundle. ModelError: a front that this device cannot run.
        """

    @abstractmethod
    def activations(self, samples_B: np.ndarray, view: int) -> np.ndarray:
        """Run the front over one augmented view of these samples: (B, C, H, W) float32."""

    def check_fits(self, bundle: FrontBundle) -> None:
        """Raise :class:`ModelError` unless the front takes this task's images, and is no larger than fronts are."""
        takes, wanted = (bundle.in_channels, bundle.input_size), (self.task.in_channels, self.task.input_size)
        if takes != wanted:
            raise ModelError(f"a front for images of {_told(takes)}; those here have {_told(wanted)}")
        widest = max((len(array) for array in bundle.weights.values() if array.ndim == 4), default=0)
        if widest > MAX_CHANNELS:
            raise ModelError(f"a front with a layer of {widest} channels; at most {MAX_CHANNELS} are allowed")

    def install(self, request: InstallFront) -> FrontInstalled:
        """Replace the front."""
        self._bundle = self.load(request.bundle)
        return FrontInstalled(front_id=self._bundle.id)


def _told(channels_and_size: tuple[int, int]) -> str:
    channels, size = channels_and_size
    return f"{size}x{size} pixels and {channels} channels"


class OnFront:
    """The device's side of a method whose devices run a frozen front, whoever runs it."""

    def __init__(self, front: FrozenFront) -> None:
        self.front = front

    def install(self, request: InstallFront) -> FrontInstalled:
        """Replace the front."""
        return self.front.install(request)
