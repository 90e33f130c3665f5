"""From a name or a path to a :class:`Dataset`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecofed.config.class_identity import listed, positions, settled
from ecofed.config.given import ARRAYS
from ecofed.config.network_input import FULL_WHITE
from ecofed.data.dataset import PNG_HEADER_BYTES, Dataset, ImageSet
from ecofed.data.decoded import read_splits
from ecofed.data.digits import read_digits
from ecofed.data.formats import Format
from ecofed.data.given import given_dataset
from ecofed.data.images import ANYHOW, Split, coloured, resize
from ecofed.data.known import KNOWN, KnownSet
from ecofed.data.places import cure, find, on_this_machine
from ecofed.data.reading import Reading
from ecofed.data.stored import ImageRows
from ecofed.errors import DataError, Notice


def load_dataset(
    name: str,
    *,
    fallback: str | None = None,
    how: Reading = ANYHOW,
    note: Callable[[str], None] | None = None,
) -> Dataset:
    """Find and read a data set; see :mod:`ecofed.data.places` for where it is looked for.

    ``fallback`` is loaded instead when ``name`` is found nowhere (the result's ``name`` tells). A path whose last
    part is a known name, such as ``pictures/cifar10``, is that set if its channels and classes fit.

    ``how`` is what a run or a trained network asks for; by default every set is taken as it is, at most 32x32.

    ``note`` is told what lies with the data and is not taken as it is; by default it becomes a warning.

    Raises :class:`DataError` (missing, malformed), :class:`MissingExtraError`.
    """
    if name.startswith(ARRAYS):
        return given_dataset(name, how.frame)
    found, message = find(name)
    if found is None:
        if fallback is None or fallback == name:
            raise DataError(message)
        stand_in, _ = find(fallback, advise=False)
        if stand_in is None:
            raise DataError(
                f"{message}; its stand-in '{fallback}' (data.fallback) is not here either: {cure(fallback)}"
            )
        return load_dataset(fallback, how=how, note=note)
    if found.path is None or found.layout is None:
        train, test = read_digits(how.frame)
        return _with_owners(assemble(found.name, found.place, train, test), train, test, how)
    train_split, test_split = read_splits(found.path, found.layout, how)
    dataset = _with_owners(assemble(found.name, found.place, train_split, test_split), train_split, test_split, how)
    for text in _notes(found.path, found.layout, how, dataset.title, train_split, test_split):
        if note is None:
            warnings.warn(text, Notice, stacklevel=2)
        else:
            note(text)
    return replace(dataset, white=how.white or train_split.white or FULL_WHITE)


def _with_owners(dataset: Dataset, train: Split, test: Split | None, how: Reading) -> Dataset:
    """With whose image it is; of test images, where they say it, the training devices' numbers, or -1 for others.

    Raises:
        DataError: that was asked for, and the data do not say it.
    """
    if how.device_column is None:
        return dataset
    if train.device_N is None:
        raise DataError(
            f"{dataset.title}: says nowhere whose image it is (data.device_column = '{how.device_column}'); parquet "
            "files and class folders can; choose another data.partition"
        )
    dataset = replace(dataset, train=replace(dataset.train, device_N=train.device_N))
    if test is None or test.device_N is None or dataset.test is None or not train.device_names:
        return dataset
    place = {name: number for number, name in enumerate(train.device_names)}
    numbers_D = np.array([place.get(name, -1) for name in test.device_names], np.int64)
    return replace(dataset, test=replace(dataset.test, device_N=numbers_D[test.device_N]))


def _notes(path: Path, layout: Format, how: Reading, title: str, train: Split, test: Split | None) -> Iterator[str]:
    yield from layout.notes(path, how)
    yield from _of_pictures(title, (("training", train), ("test", test)))


def _of_pictures(title: str, splits: Iterable[tuple[str, Split | None]]) -> Iterator[str]:
    for part, split in splits:
        if split is not None and split.too_bright:
            yield (
                f"{title}: {split.too_bright:,} of {len(split.labels_N):,} {part} pictures hold numbers above "
                f"{split.white:,}, which is white in the training pictures; they are white there"
            )
        if split is not None and split.several:
            yield (
                f"{title}: {split.several:,} of {len(split.labels_N):,} {part} files hold several pictures (frames or "
                "pages); the first of each is taken"
            )


def list_datasets() -> list[tuple[str, str, str | None]]:
    """Name, title and the kind of place it was found in (``None``: nowhere on this machine) of every known set."""
    return [(name, known.title, on_this_machine(name)) for name, known in KNOWN.items()]


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
    if known.classes is None:
        return True
    if train.label_names is not None:
        return len(train.label_names) == len(known.classes)
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
