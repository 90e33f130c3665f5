"""Whose image it is, where the data say so themselves (``data.partition = "column"``)."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from posixpath import normpath
from typing import Any

import numpy as np

from ecofed.errors import ConfigError, DataError
from ecofed.errors.foreign_text import clean
from ecofed.files.disk import read_text

FOLDER = "folder"
"""In class folders: the folder in a class's folder tells."""
FILE_COLUMN = "file"
MAX_LIST_BYTES = 64 << 20
MAX_NAME = 200
_DELIMITERS = (",", ";", "\t")


def numbered(owners: Sequence[Any], where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Names (or whole numbers) of devices, one for each image, as their places in the order of all: int64 (N,). And all
    names in that order.

    Raises:
        DataError: an image without one, or one that is neither name nor number.
    """
    for row, owner in enumerate(owners):
        if isinstance(owner, bool) or not isinstance(owner, int | str) or owner == "" or len(str(owner)) > MAX_NAME:
            raise DataError(
                f"{where}: row {row}: device {str(owner)[:MAX_NAME]!r} is neither a whole number nor a name"
            )
    numbers = all(isinstance(owner, int) for owner in owners)
    names = sorted(set(owners)) if numbers else sorted({str(owner) for owner in owners})
    place = {name: index for index, name in enumerate(names)}
    device_N = np.array([place[owner if numbers else str(owner)] for owner in owners], np.int64)
    return device_N, tuple(map(str, names))


def owned(
    read: Callable[[], Sequence[Any] | None], where: str, *, needed: bool
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """:func:`numbered` what ``read`` gives; ``None`` where the data do not say it, and need not.

    Raises:
        DataError: they do not say it, and have to.
    """
    try:
        owners = read()
        return None if owners is None else numbered(owners, where)
    except DataError:
        if needed:
            raise
        return None


def of_files(files: Sequence[Path], folder: Path, column: str) -> list[str]:
    """Of pictures in class folders below ``folder``: from the list beside it, or from the folders that they lie in.

    Raises:
        DataError: no such list or column, or one that does not name every picture, one twice, or what is none.
    """
    if column == FOLDER:
        loose = next((file for file in files if len(file.relative_to(folder).parts) < 3), None)
        if loose is not None:
            raise DataError(
                f"{loose}: lies in no folder of its class's folder, from which data.device_column={FOLDER} takes the "
                "device"
            )
        return [file.relative_to(folder).parts[1] for file in files]
    place = list_beside(folder)
    owners = _read_list(place, column, folder)
    names = [file.relative_to(folder).as_posix() for file in files]
    missing = [name for name in names if name not in owners]
    if missing:
        raise DataError(f"{place}: {len(missing):,} of {len(names):,} pictures are not in it, such as {missing[0]}")
    return [owners[name] for name in names]


def list_beside(folder: Path) -> Path:
    """``train.csv`` beside ``train/``."""
    return Path(f"{folder.resolve() if folder.name in ('', '..') else folder}.csv")


def _read_list(place: Path, column: str, folder: Path) -> dict[str, str]:
    if not place.is_file():
        raise DataError(
            f"data.device_column = '{column}': {place} is not there; it needs the columns {FILE_COLUMN} and {column}, "
            f"or set data.device_column={FOLDER} where each class's folder has a folder for each device"
        )
    text = text_of(place)
    lines = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
    try:
        present = list(lines.fieldnames or ())
        wrong = next((name for name in (FILE_COLUMN, column) if present.count(name) != 1), None)
        if wrong is not None:
            several = "more than one" if wrong in present else "no"
            raise DataError(f"{place}: {several} column '{wrong}'; it has {clean(', '.join(present)) or 'none'}")
        owners: dict[str, str] = {}
        numbers: dict[str, int] = {}
        for line in lines:
            name = as_path(line[FILE_COLUMN] or "")
            # Cells beyond the head have no column: a name with a comma in it that is not quoted.
            if any(line.get(None) or ()):
                raise DataError(f"{place}: line {lines.line_num} has more columns than the first one")
            if name in owners:
                raise DataError(
                    f"{place}: line {lines.line_num}: '{clean(name)}' is the picture of line {numbers[name]}, too"
                )
            # Else a path that leaves the folder and comes back would be a second name of a picture.
            plain = normpath(f"/{name}") == f"/{name}"
            if not name or not plain or not (folder / name).is_file():
                raise DataError(f"{place}: line {lines.line_num}: '{clean(name)}' is no picture in {folder}")
            owners[name], numbers[name] = str(line[column] or "").strip(), lines.line_num
            if not owners[name]:
                raise DataError(f"{place}: line {lines.line_num}: nothing in column '{clean(column)}'")
        return owners
    except csv.Error as error:
        raise DataError(f"{place}: line {lines.line_num}: {error}") from error


def as_path(cell: str) -> str:
    """What a list calls a picture, as paths are written here."""
    return cell.strip().replace("\\", "/").removeprefix("./")


def delimiter_of(text: str) -> str:
    """What stands between the cells of a list: what is most often in its first line."""
    marks = Counter(mark for mark in text.partition("\n")[0] if mark in _DELIMITERS).most_common(1)
    return marks[0][0] if marks else ","


def text_of(place: Path) -> str:
    """Of a list of pictures.

    Raises:
        DataError: it is too large for one, or no text.
    """
    if place.stat().st_size > MAX_LIST_BYTES:
        raise DataError(f"{place}: larger than {MAX_LIST_BYTES >> 20} MiB, which is no list of pictures")
    try:
        return read_text(place)
    except ConfigError as error:
        raise DataError(str(error)) from None
