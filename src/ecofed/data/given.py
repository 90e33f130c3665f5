"""Arrays that were given in Python (``ecofed.run(data=...)``): data sets that this process alone knows.

Each has a name that follows from its content, which configurations and results record. So the same arrays, given again
in another process, are the same data set, and others are not mistaken for them.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from ecofed.config.given import ARRAYS
from ecofed.config.network_input import ANY_FRAME, Frame
from ecofed.data.assembling import assemble, checked_arrays
from ecofed.data.dataset import Dataset, ImageSet
from ecofed.data.images import Split, native_size
from ecofed.data.stored import StoredImages
from ecofed.errors import DataError

#: That are hashed in one go.
ROWS_AT_ONCE = 1 << 12
_given: dict[str, Dataset] = {}


def give_arrays(train: Any, test: Any) -> str:
    """Make ``(images, labels)`` of two splits known. Returns what ``data.name`` has to be.

    Images are uint8, (N, H, W, C) or grey (N, H, W), with 1 or 3 channels, of any size (a run scales them as it
    does pictures of files); labels are whole numbers (N,). Anything that numpy takes for an array is welcome.

    Raises:
        DataError: they are not; or the test split has labels that the training split does not.
    """
    return give_dataset(_assembled(_split(train, "training"), _split(test, "test")))


def give_dataset(dataset: Dataset) -> str:
    """As :func:`give_arrays`, for what ``load_dataset`` returned, perhaps changed.

    Raises:
        DataError: it was changed to something that no run can read.
    """
    train = _checked(dataset.train, "training", dataset)
    test = None if dataset.test is None else _checked(dataset.test, "test", dataset)
    dataset = replace(dataset, train=train, test=test)
    if len(set(dataset.classes)) < len(dataset.classes):
        raise DataError("data: two of its classes have the same name")
    if not len(dataset.mean) == len(dataset.std) == dataset.channels:
        raise DataError(f"data: mean and std need one number for each of the {dataset.channels} channels")
    digest = sha256(repr(dataset.classes).encode())
    for part in (dataset.train, dataset.test):
        for array in () if part is None else (part.images_NHWC, part.labels_N):
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            for at in range(0, len(array), ROWS_AT_ONCE):
                digest.update(np.ascontiguousarray(array[at : at + ROWS_AT_ONCE]).reshape(-1).view(np.uint8).data)
    name = f"{ARRAYS}{digest.hexdigest()[:12]}"
    _given[name] = replace(dataset, name=name)
    return name


def given_dataset(name: str, frame: Frame = ANY_FRAME) -> Dataset:
    """The data set that has this name, its images as ``frame`` wants them.

    Raises:
        DataError: nobody gave it to this process.
    """
    if name not in _given:
        raise DataError(
            f"data.name = '{name}': arrays that were given in Python, to another process; give the same again, as "
            "data=((images, labels), (test_images, test_labels))"
        )
    dataset = _given[name]
    return replace(
        dataset,
        train=_scaled(dataset.train, frame),
        test=None if dataset.test is None else _scaled(dataset.test, frame),
    )


def _scaled(part: ImageSet, frame: Frame) -> ImageSet:
    return replace(part, images_NHWC=native_size(part.images_NHWC[:], frame))


def _checked(part: object, name: str, dataset: Dataset) -> ImageSet:
    where = f"data: the {name} split"
    if not isinstance(part, ImageSet):
        raise DataError(f"{where} must be an ImageSet, as ecofed.load_dataset has it, not {type(part).__name__}")
    if isinstance(part.images_NHWC, StoredImages):  # which were decoded here, to uint8
        if len(part.images_NHWC) != len(part.labels_N):
            raise DataError(f"{where} has {len(part.images_NHWC)} images and {len(part.labels_N)} labels")
    else:
        images_NHWC, labels_N = checked_arrays(part.images_NHWC, part.labels_N, where)
        part = replace(part, images_NHWC=images_NHWC, labels_N=labels_N)
    least, most = int(part.labels_N.min(initial=0)), int(part.labels_N.max(initial=0))
    if not 0 <= least <= most < len(dataset.classes):
        raise DataError(f"{where} has labels of {least} to {most}, for {len(dataset.classes)} classes")
    return part


def _split(pair: Any, part: str) -> Split:
    where = f"data: the {part} split"
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise DataError(f"{where} must be (images, labels)")
    images_NHWC, labels_N = checked_arrays(pair[0], pair[1], where)
    return Split(images_NHWC=images_NHWC, labels_N=labels_N)


def _assembled(train: Split, test: Split) -> Dataset:
    return replace(assemble("arrays", "memory", train, test), title="arrays given in Python")
