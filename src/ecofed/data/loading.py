"""From a name or a path to a :class:`Dataset`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ecofed.config.given import ARRAYS
from ecofed.config.network_input import FULL_WHITE
from ecofed.data.assembling import assemble
from ecofed.data.dataset import Dataset, ImageSet
from ecofed.data.decoded import NoTrainingImagesError, Splits, read_splits
from ecofed.data.digits import read_digits
from ecofed.data.formats import FORMATS, Format, lists
from ecofed.data.given import given_dataset
from ecofed.data.images import ANYHOW, Split
from ecofed.data.known import KNOWN
from ecofed.data.places import Found, cure, find, on_this_machine
from ecofed.data.reading import Reading
from ecofed.data.stored import part_of
from ecofed.errors import DataError, Notice
from ecofed.errors.foreign_text import clean


def load_dataset(
    name: str | Path,
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
    if not isinstance(name, str | Path):
        raise DataError(f"name: must be the name of a data set or a path, not {type(name).__name__}")
    name = str(name)
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
    if how.image_column or how.label_column:
        with_columns = _with_columns(found, how)
        if with_columns is None:
            how = replace(how, image_column=None, label_column=None)
        found = with_columns or found
    if found.path is None or found.layout is None:
        train, test = read_digits(how.frame)
        return _with_owners(assemble(found.name, found.place, train, test), train, test, how)
    train_split, test_split = _splits(found.path, found.layout, how)
    dataset = _with_owners(assemble(found.name, found.place, train_split, test_split), train_split, test_split, how)
    for text in _notes(found.path, found.layout, how, dataset.title, train_split, test_split):
        if note is None:
            warnings.warn(text, Notice, stacklevel=2)
        else:
            note(text)
    if train_split is test_split:  # which stands in for its constants alone
        none = ImageSet(part_of(dataset.train.images_NHWC, np.empty(0, np.int64)), dataset.train.labels_N[:0])
        dataset = replace(dataset, train=none, compressed_bytes_N=None)
    return replace(dataset, white=how.white or train_split.white or FULL_WHITE)


def _splits(path: Path, layout: Format, how: Reading) -> Splits:
    """The training and the test split; where test images alone will do and are all there is, they are both.

    Raises :class:`DataError`.
    """
    try:
        return read_splits(path, layout, how)
    except NoTrainingImagesError:
        test = layout.read(path, "test", how) if how.test_alone else None
        if test is None or not len(test.labels_N):
            raise
        return test, test


def _with_columns(found: Found, how: Reading) -> Found | None:
    """A list in the folder, too, where class folders would do without; ``None``: nothing there has columns, and need
    not.

    Raises:
        DataError: nothing there has columns.
    """
    if found.layout == FORMATS["parquet"]:
        return found
    find_them = partial(lists.find_whatever, image_column=how.image_column)
    if found.path is not None and find_them(found.path):
        return replace(found, layout=replace(FORMATS["lists"], find=find_them))
    if not how.columns_needed:
        return None
    key = "data.image_column" if how.image_column else "data.label_column"
    raise DataError(
        f"{found.name}: {key} names a column of parquet files or of a list (CSV) that names pictures, and there is "
        "none; leave it out"
    )


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
            "files, lists and class folders can; choose another data.partition"
        )
    dataset = replace(dataset, train=replace(dataset.train, device_N=train.device_N))
    if test is None or test.device_N is None or dataset.test is None or not train.device_names:
        return dataset
    place = {name: number for number, name in enumerate(train.device_names)}
    numbers_D = np.array([place.get(name, -1) for name in test.device_names], np.int64)
    return replace(dataset, test=replace(dataset.test, device_N=numbers_D[test.device_N]))


def _notes(path: Path, layout: Format, how: Reading, title: str, train: Split, test: Split | None) -> Iterator[str]:
    yield from layout.notes(path, how)
    by_folder = layout in (FORMATS["folders"], FORMATS["undivided"]) and how.device_column is None
    if by_folder and (beside := lists.columns_beside(path)) is not None:
        place, columns = beside
        yield (
            f"{place.name} lists pictures, and is not taken, as folders are the classes: data.label_column="
            f"{clean(' or '.join(columns))} takes what it says instead"
        )
    yield from _of_pictures(title, (("training", train), ("test", test)))


def _of_pictures(title: str, splits: Iterable[tuple[str, Split | None]]) -> Iterator[str]:
    for part, split in splits:
        if split is not None and split.too_bright:
            yield (
                f"{title}: {split.too_bright:,} of {len(split.labels_N):,} {part} pictures hold numbers above "
                f"{split.white:,}, which is white in the training pictures; they are white there"
            )
        if split is not None and 0 < split.needed <= split.white // 4:
            yield (
                f"{title}: the {part} pictures hold numbers up to {split.needed:,} and white is {split.white:,} here, "
                "so they are shown dark; the training pictures settle what is white (where devices have their own, the "
                "server's pictures): let those be of the same kind, or save all with 8 bits"
            )
        if split is not None and split.several:
            yield (
                f"{title}: {split.several:,} of {len(split.labels_N):,} {part} files hold several pictures (frames or "
                "pages); the first of each is taken"
            )


def list_datasets() -> list[tuple[str, str, str | None]]:
    """Name, title and the kind of place it was found in (``None``: nowhere on this machine) of every known set."""
    return [(name, known.title, on_this_machine(name)) for name, known in KNOWN.items()]
