"""Two splits as they were read, made one data set: classes, image shape and constants, checked against each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from ecofed.config.class_identity import listed, positions, settled
from ecofed.data.dataset import PNG_HEADER_BYTES, Dataset, ImageSet
from ecofed.data.images import Split, coloured, resize
from ecofed.data.known import KNOWN, KnownSet
from ecofed.data.stored import ImageRows
from ecofed.errors import DataError


def assemble(name: str, place: str, train: Split, test: Split | None) -> Dataset:
    """Settle classes, image shape and constants, and check that the two splits fit each other."""
    train_NHWC, test_NHWC = _same_shape(train.images_NHWC, None if test is None else test.images_NHWC)
    channels = train_NHWC.shape[3]
    known = KNOWN.get(name)
    # A folder may merely be called like a known set.
    if known is not None and (channels != known.channels or (place == "path" and not _fits(known, train))):
        known = None
    classes, train_labels_N, test_labels_N = _classes(name, known, train, test)
    title = known.title if known is not None else name
    if known is not None and known.lossless and train.compressed_as == "JPEG":
        title += " (JPEG)"
    return Dataset(
        name=name,
        title=title,
        train=ImageSet(train_NHWC, train_labels_N),
        test=ImageSet(test_NHWC, test_labels_N) if test_NHWC is not None and test_labels_N is not None else None,
        classes=classes,
        mean=known.mean if known is not None else (0.5,) * channels,
        std=known.std if known is not None else (0.5,) * channels,
        flip=known.flip if known is not None else True,
        place=place,
        compressed_as=train.compressed_as,
        compressed_bytes_N=train.compressed_bytes_N,
        shared_header_bytes=train.shared_header_bytes if train.compressed_as is not None else PNG_HEADER_BYTES,
        stored_bytes=train.stored_bytes,
    )


def _same_shape(train_NHWC: ImageRows, test_NHWC: ImageRows | None) -> tuple[ImageRows, ImageRows | None]:
    if test_NHWC is None or train_NHWC.shape[1:] == test_NHWC.shape[1:]:
        return train_NHWC, test_NHWC
    if train_NHWC.shape[1:3] != test_NHWC.shape[1:3]:
        train_NHWC, test_NHWC = (np.stack([resize(image) for image in split]) for split in (train_NHWC, test_NHWC))
    if train_NHWC.shape[3] != test_NHWC.shape[3]:
        train_NHWC, test_NHWC = coloured(train_NHWC), coloured(test_NHWC)
    return train_NHWC, test_NHWC


def _fits(known: KnownSet, train: Split) -> bool:
    """Whether these are its classes: by most of their names (copies have other words for some), or by numbers."""
    if known.classes is None:
        return True
    if train.label_names is not None:
        own, published = set(map(_letters, train.label_names)), set(map(_letters, known.classes))
        numbered = own == {str(number) for number in range(len(published))}
        return len(own) == len(published) and (numbered or 2 * len(own & published) > len(published))
    return bool(train.labels_N.min() >= 0 and train.labels_N.max() < len(known.classes))


def _classes(
    name: str, known: KnownSet | None, train: Split, test: Split | None
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray | None]:
    """Class names, and both splits' labels as positions in them."""
    where = f"data set '{name}'"
    if test is not None and (train.label_names is None) != (test.label_names is None):
        named, numbered = ("training", "test") if train.label_names is not None else ("test", "training")
        raise DataError(
            f"{where}: the {named} split names its classes but the {numbered} split does not, and nothing says which "
            f"is which; training has {listed(_own_classes(train))}, the test split {listed(_own_classes(test))}"
        )
    numbered_by_it = known is not None and known.classes is not None and train.label_names is None
    if numbered_by_it and known is not None and known.classes is not None:
        for split in (train, test):
            labels_N = None if split is None else split.labels_N
            if labels_N is not None and not (labels_N.min() >= 0 and labels_N.max() < len(known.classes)):
                span, last = f"{labels_N.min()}..{labels_N.max()}", len(known.classes) - 1
                raise DataError(f"{where}: its labels are {span}, expected 0..{last}")
        return known.classes, train.labels_N, None if test is None else test.labels_N
    classes = settled(_own_classes(train), f"{where}, training split")
    test_labels_N = None
    if test is not None:
        places = positions(
            _own_classes(test),
            classes,
            refusal=lambda strange: f"{where}: class '{strange}' occurs in the test split but not in training",
            own="the test split",
            others="training",
        )
        test_labels_N = places[_places(test)]
    if known is not None and known.classes is not None:
        classes = _as_published(classes, known.classes)
    return classes, _places(train), test_labels_N


def _own_classes(split: Split) -> tuple[str, ...]:
    """The classes of a split: its names, or its numbers, ascending."""
    return split.label_names or tuple(str(value) for value in np.unique(split.labels_N))


def _places(split: Split) -> np.ndarray:
    """A split's labels as places in :func:`_own_classes`."""
    if split.label_names is not None:
        return split.labels_N
    return np.searchsorted(np.unique(split.labels_N), split.labels_N)


def _as_published(classes: tuple[str, ...], published: tuple[str, ...]) -> tuple[str, ...]:
    """A known set's classes as it spells them, where copies differ in case, spaces and punctuation."""
    spelling = {_letters(name): name for name in published}
    if len(classes) != len(published) or {_letters(name) for name in classes} != set(spelling):
        return classes
    return tuple(spelling[_letters(name)] for name in classes)


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def checked_arrays(images: Any, labels: Any, where: str) -> tuple[np.ndarray, np.ndarray]:
    """As images (N, H, W, C), uint8, and labels (N,), int64.

    Raises:
        DataError: they are not; the message begins with ``where``.
    """
    images, labels_N = np.asarray(images), np.asarray(labels)
    images_NHWC = images[..., np.newaxis] if images.ndim == 3 else images
    if images_NHWC.dtype != np.uint8 or images_NHWC.ndim != 4 or images_NHWC.shape[3] not in (1, 3):
        raise DataError(
            f"{where} has images of {images.dtype} and shape {images.shape}; they must be uint8, 0 to 255, of shape "
            "(N, H, W, C) with 1 or 3 channels last, or (N, H, W)"
        )
    if labels_N.dtype.kind not in "iu" or labels_N.ndim != 1:
        raise DataError(
            f"{where} has labels of {labels_N.dtype} and shape {labels_N.shape}; they must be whole numbers (N,)"
        )
    if len(images_NHWC) and not images_NHWC[0].size:
        raise DataError(f"{where} has images of shape {images.shape}: without any pixels")
    if len(images_NHWC) != len(labels_N) or not len(labels_N):
        raise DataError(f"{where} has {len(images_NHWC)} images and {len(labels_N)} labels")
    return images_NHWC, labels_N.astype(np.int64)
