"""What a data set is once it is loaded.

Shape legend: N images, H rows, W columns, C channels (1 or 3).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ecofed.config.class_identity import listed
from ecofed.config.network_input import FULL_WHITE
from ecofed.data.stored import ImageRows
from ecofed.errors import DataError

PNG_HEADER_BYTES = 33
"""Signature and IHDR, the same for all images of one size."""


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size."""

    images_NHWC: ImageRows
    """uint8, one or three channels; 28..32 pixels a side, or as was asked for."""
    labels_N: np.ndarray
    """int64, ``0 <= label < classes``."""
    device_N: np.ndarray | None = None
    """int64; whose image it is, where the data say it and that was asked for."""

    def __len__(self) -> int:
        return len(self.labels_N)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A training and a test split, and what there is to know about them."""

    name: str
    """Canonical key, such as ``cifar10``; for a path, the name of the folder or file."""
    title: str
    """For reports. A JPEG copy of a set that is published losslessly says so: ``CIFAR-10 (JPEG)``."""
    train: ImageSet
    test: ImageSet | None
    """``None`` for sets that are only for pre-training; :func:`require_test` turns that into an error."""
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    """Per channel, of pixels scaled to 0..1: published constants for known sets, 0.5 elsewhere. Never computed
    from the images, because those belong to the devices."""
    std: tuple[float, ...]
    flip: bool
    """A mirrored image is still valid (not so for digits)."""
    place: str
    """The kind of place it was found in: ``path``, ``$ECOFED_DATA``, ``cache``, ``system``, ``hub`` or ``package``."""
    compressed_as: str | None
    """``JPEG`` or ``PNG`` where the source stores its training images compressed at the size they are used at."""
    compressed_bytes_N: np.ndarray | None
    """int64, bytes of each training image as stored; ``None`` together with ``compressed_as``."""
    shared_header_bytes: int
    """Bytes that every compressed training image begins with. Small JPEGs are mostly that: equal tables."""
    stored_bytes: int = 0
    """Of one raw image as the source has it, where it was scaled up for use; otherwise 0."""
    white: int = FULL_WHITE
    """The number that is white in pictures of more than 8 bits, for this set and whatever is compared with it."""

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (colour)."""
        return int(self.train.images_NHWC.shape[3])


def raw_bytes(dataset: Dataset) -> int:
    """Of one image as raw pixels, at the source's size if that is smaller than the one used."""
    return dataset.stored_bytes or int(np.prod(dataset.train.images_NHWC.shape[1:]))


def require_classes(dataset: Dataset, name: str) -> None:
    """Raise :class:`DataError` for data of one class: there would be nothing to learn."""
    if len(dataset.classes) < 2:
        one = listed(dataset.classes)
        raise DataError(f"data.name = '{name}': has one class only, {one}; at least two classes are needed")


def require_test(dataset: Dataset) -> ImageSet:
    """The test split. A set without one is a :class:`DataError`: a run cannot be judged on it."""
    if dataset.test is None:
        raise DataError(
            f"{dataset.title} has no test split, so it serves for pre-training only; a run needs one: "
            "add test.parquet beside train.parquet, or class folders under test/; or hold out some of the devices' "
            "samples (validation.fraction)"
        )
    return dataset.test


def compressed_sizes(dataset: Dataset, indices_N: np.ndarray) -> np.ndarray:
    """Bytes of the given training images, compressed: as stored, or as PNG where the source stores raw pixels.

    Returns int64, shape ``(N,)``.
    """
    if dataset.compressed_bytes_N is not None:
        return np.asarray(dataset.compressed_bytes_N[indices_N])
    return np.array([png_bytes(dataset.train.images_NHWC[index]) for index in indices_N], np.int64)


def compressed_upload_bytes(dataset: Dataset, indices_N: np.ndarray) -> int:
    """Bytes of the given training images in one upload: what they all begin with is sent once.

    It is the honest price of sending the pictures themselves.
    """
    if len(indices_N) == 0:
        return 0
    own_N = compressed_sizes(dataset, indices_N) - dataset.shared_header_bytes
    return dataset.shared_header_bytes + int(own_N.sum())


def png_bytes(image_HWC: np.ndarray) -> int:
    """What an image takes as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC).save(buffer, "PNG")
    return buffer.tell()
