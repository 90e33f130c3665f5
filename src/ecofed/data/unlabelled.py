"""Pictures that nothing is said of: a folder of them, where no labels are needed."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecofed.data.formats.folders import contents, pictures_under
from ecofed.data.images import ANYHOW, decode
from ecofed.data.inventory import left_out
from ecofed.data.places import find, is_path
from ecofed.data.reading import Reading
from ecofed.data.stored import ImageRows
from ecofed.errors import Notice
from ecofed.slow_work import counted


class Unlabelled(NamedTuple):
    """Pictures, and the name of their folder."""

    images_NHWC: ImageRows
    name: str


def unlabelled_folder(name: str) -> Path | None:
    """The folder of pictures that ``name`` is the path of, however deep they lie; ``None`` where it is the name of a
    data set, or the path of one.

    Raises:
        DataError: a data set that is malformed.
    """
    folder = Path(name).expanduser() if is_path(name) else None
    if folder is None or not folder.is_dir() or find(name)[0] is not None:
        return None
    return folder if pictures_under(folder)[0] else None


def read_unlabelled(
    folder: Path, chosen: Callable[[int], np.ndarray | slice] = lambda _: slice(None), how: Reading = ANYHOW
) -> Unlabelled:
    """The pictures of a folder and its sub-folders, sorted by their paths.

    Args:
        folder: as :func:`unlabelled_folder` found it.
        chosen: which of so many are read.
        how: as for data sets.

    Warns (``Notice``) of what lies there and is no picture.

    Raises:
        DataError: one does not decode.
    """
    there = pictures_under(folder)[0]
    files = [there[at] for at in np.arange(len(there))[chosen(len(there))]]
    for text in left_out(folder, there):
        warnings.warn(text, Notice, stacklevel=3)
    decoded = decode(lambda: counted(contents(files), len(files), "reading pictures"), how)
    return Unlabelled(decoded.images_NHWC, folder.resolve().name)
