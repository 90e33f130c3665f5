"""A device's own images, as batches of network inputs. numpy only: every kind of device has these."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from ecofed.config.class_identity import listed, positions
from ecofed.config.held_out import taking_part
from ecofed.config.task import Task
from ecofed.data import Dataset, to_input
from ecofed.data.jpeg import compress_images
from ecofed.data.stored import ImageRows, part_of
from ecofed.data.transforms import Views, centre
from ecofed.devices.account import Account
from ecofed.devices.protection import Protection
from ecofed.errors import DataError, DeviceError
from ecofed.wire import Images, SendImages
from ecofed.wire.messages import label_dtype

_AT_ONCE = 256


class LocalImages:
    """Images (N, H, W, C) uint8 and labels (N,) that leave the device as images only when :meth:`send` is asked for."""

    def __init__(
        self,
        task: Task,
        device: int,
        images_NHWC: ImageRows,
        labels_N: np.ndarray,
        account: Account | None = None,
    ) -> None:
        """``account``: the device's privacy budget and the secret of its noise; ``None``: new, for this process."""
        self.task = task
        self.device = device
        given_N = np.arange(len(labels_N))
        own_N = taking_part(task.config, device, len(labels_N)) if task.config.validation.on_devices else given_N
        held_N = np.setdiff1d(given_N, own_N)
        self.held_out = part_of(images_NHWC, held_N), labels_N[held_N].astype(np.int64)
        """Images and labels that the run's method never sees, for :mod:`ecofed.devices.local_test`."""
        if task.config.privacy.labels == "counts":  # else who has folders by class tells classes by numbers
            own_N = own_N[by_content(part_of(images_NHWC, own_N))]
        if own_N is not given_N:
            images_NHWC, labels_N = part_of(images_NHWC, own_N), labels_N[own_N]
        self.given_as_N = own_N
        """int64: which of the images that the device was given each of its samples is."""
        self._images_NHWC = images_NHWC
        self.labels_N = labels_N.astype(label_dtype(task.classes))
        self.protection = Protection(task, account or Account(), images_NHWC, self.labels_N)

    def __len__(self) -> int:
        return len(self.labels_N)

    def arrays(self, samples_B: np.ndarray, view: int) -> np.ndarray:
        """Augmented, normalised network input (B, C, input_size, input_size) for these samples; a sample's view is
        always the same."""
        if self.task.config.data.augment:
            images_BHWC = Views.of(self.task, self.device)(self._images_NHWC[samples_B], samples_B, view)
        else:
            images_BHWC = self.plain(samples_B)
        return to_input(images_BHWC, self.task.mean, self.task.std, self.task.input_size)

    def plain(self, samples_B: np.ndarray | slice) -> np.ndarray:
        """These images as they are, uint8 (B, H, W, C); of photographs the middle that the network sees."""
        images_BHWC = self._images_NHWC[samples_B]
        return centre(images_BHWC, self.task.input_size) if self.task.cover else images_BHWC

    def send(self, request: SendImages) -> Images:
        """send-images: the images themselves leave the device, as JPEG."""
        settings = self.task.config.send_images
        wanted = (settings.quality, settings.size or 0)
        if (request.quality, request.size) != wanted:
            raise DeviceError(f"asked for images of quality and size {(request.quality, request.size)}, not {wanted}")
        batch = compress_images(self.plain(slice(None)), request.quality, request.size or None)
        return Images(
            round=request.round,
            header=batch.header,
            bodies=batch.bodies,
            lengths_N=batch.lengths_N,
            labels_N=self.labels_N,
        )


def by_content(images_NHWC: ImageRows) -> np.ndarray:
    """An order of images, their numbers, that only their pixels decide, and no folder or list that they came in."""
    digests = [
        blake2b(np.ascontiguousarray(image_HWC).tobytes(), digest_size=16).digest()
        for at in range(0, len(images_NHWC), _AT_ONCE)
        for image_HWC in images_NHWC[at : at + _AT_ONCE]
    ]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), np.int64)


def class_numbers(dataset: Dataset, task: Task) -> np.ndarray:
    """The server's number of each class of a device's own data set, int64; a device may lack classes.

    Raises:
        DataError: a class that the run does not know; the message has both lists. Or the task has no list.
    """
    if not task.class_names:
        raise DataError(
            f"{dataset.title}: the server's task does not say which class has which number, and this device's are "
            f"{listed(dataset.classes)}; use the same version of ecofed on the server"
        )
    return positions(
        dataset.classes,
        task.class_names,
        refusal=lambda name: f"{dataset.title}: class '{name}' is unknown to this run",
        own="this device",
        others="the run",
    )
