"""Folders of pictures: ``train/<class>/*.png`` and ``test/<class>/*.png`` (or another of
:data:`ecofed.data.pictures.SUFFIXES`).

Names that begin with a dot are what systems leave behind (``.ipynb_checkpoints``, ``._001.png``), not pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from ecofed.data.images import Split, decode
from ecofed.data.pictures import SUFFIXES
from ecofed.errors import DataError
from ecofed.loading_progress import counted

MAX_FILE_BYTES = 256 << 20


def find(path: Path) -> list[Path]:
    """Every picture of both splits, sorted."""
    if not path.is_dir():
        return []
    return [file for part in ("train", "test") for _, files in _classes(path / part) for file in files]


def read(path: Path, part: Literal["train", "test"], white: int | None = None) -> Split | None:
    """One split; classes are the sub-folders in alphabetical order.

    Raises :class:`DataError` for a sub-folder of files none of which is a picture: a class would silently be missing.
    """
    classes = _classes(path / part)
    _require_pictures(path / part, {name for name, _ in classes})
    if not classes:
        return None
    pictures = [file for _, files in classes for file in files]
    decoded = decode(lambda: counted(_contents(pictures), len(pictures), f"reading {part} pictures"), white)
    labels_N = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for _, files in classes])
    return decoded.split(labels_N, tuple(name for name, _ in classes))


def pictures_under(folder: Path) -> tuple[list[Path], list[Path]]:
    """Every picture in a folder, whatever folders it lies in, and every other file; both sorted.

    Raises :class:`DataError` for a folder that cannot be read.
    """
    pictures: list[Path] = []
    others: list[Path] = []

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in [name for name in names if not name.startswith(".")]:
            (pictures if Path(name).suffix.lower() in SUFFIXES else others).append(Path(place, name))
    return sorted(pictures), sorted(others)


def _classes(folder: Path) -> list[tuple[str, list[Path]]]:
    """Class names with their pictures; a sub-folder without pictures is no class."""
    classes = [(entry.name, [f for f in _files(entry) if f.suffix.lower() in SUFFIXES]) for entry in _folders(folder)]
    return [(name, files) for name, files in classes if files]


def _require_pictures(folder: Path, classes: set[str]) -> None:
    for entry in _folders(folder):
        files = [] if entry.name in classes else _files(entry)
        if files:
            raise DataError(
                f"{entry}: no picture in it, {files[0].name} is none; the formats are {', '.join(SUFFIXES)}"
            )


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _shown(folder) if entry.is_dir()] if folder.is_dir() else []


def _files(folder: Path) -> list[Path]:
    return [entry for entry in _shown(folder) if entry.is_file()]


def _shown(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _contents(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        try:
            if file.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB")
            yield str(file), file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from error
