"""Folders of pictures: ``train/<class>/*.png`` and ``test/<class>/*.png`` (or another of
:data:`ecofed.data.pictures.SUFFIXES`).

Names that begin with a dot are what systems leave behind (``.ipynb_checkpoints``, ``._001.png``), not pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecofed.class_identity import listed
from ecofed.data.formats.parts import NAMES, Part, choose, stand_in
from ecofed.data.images import Split, decode
from ecofed.data.inventory import everything, left_out
from ecofed.data.pictures import SUFFIXES
from ecofed.errors import DataError
from ecofed.foreign_text import clean
from ecofed.loading_progress import counted

MAX_FILE_BYTES = 256 << 20


def find(path: Path) -> list[Path]:
    """Every picture of both splits, sorted.

    Raises :class:`DataError` for a sub-folder of files none of which is a picture: a class would silently be missing.
    """
    for part in NAMES:
        _require_classes(_split(path, part))
    return [file for part in NAMES for _, files in _classes(_split(path, part)) for file in files]


def read(path: Path, part: Part, white: int | None = None, size: tuple[int, ...] = ()) -> Split | None:
    """One split; classes are the sub-folders, by name. What lies in folders of theirs is of the class too."""
    folder = _split(path, part)
    classes = [(name, files) for name, files in _classes(folder) if files]
    if not classes:
        return None
    pictures = [file for _, files in classes for file in files]
    decoded = decode(lambda: counted(_contents(pictures), len(pictures), f"reading {part} pictures"), white, size)
    labels_N = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for _, files in classes])
    return decoded.split(labels_N, tuple(name for name, _ in classes))


def notes(path: Path) -> list[str]:
    """What is not taken; class folders that are empty, and those with folders of their own."""
    told: list[str] = []
    folders = [folder for folder in (_split(path, part) for part in NAMES) if folder is not None]
    for part in NAMES:
        folder = _split(path, part)
        if folder is None:
            continue
        if substitute := stand_in(part, folder.name):
            told.append(f"{path}: {substitute}")
        empty = [name for name, files in _classes(folder) if not files]
        if empty:
            told.append(f"{folder}: without a picture, and so no class: {', '.join(map(clean, empty))}")
        deeper = [file for name, files in _classes(folder) for file in files if file.parent != folder / name]
        if deeper:
            example = clean(str(deeper[0].relative_to(folder)))
            told.append(
                f"{folder}: {len(deeper):,} pictures lie in folders of their class's folder ({example}); the outer "
                "folder is their class"
            )
    return told + left_out(path, find(path), folders)


def pictures_under(folder: Path) -> tuple[list[Path], list[Path]]:
    """Every picture in a folder, whatever folders it lies in, and every other file; both sorted.

    Raises :class:`DataError` for a folder that cannot be read.
    """
    pictures: list[Path] = []
    others: list[Path] = []
    for entry in everything(folder):
        if not entry.name.startswith("."):
            (pictures if _is_picture(entry) else others).append(entry)
    return pictures, others


def _split(path: Path, part: Part) -> Path | None:
    if not path.is_dir():
        return None
    found = choose(path, part, {entry.name: entry for entry in path.iterdir() if entry.is_dir()})
    return None if found is None else found[1]


def _classes(folder: Path | None) -> list[tuple[str, list[Path]]]:
    """Class names with their pictures; those of classes without any are empty."""
    classes: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()) if folder is not None else ():
        if folder is not None and entry.is_dir() and not entry.name.startswith("."):
            classes[entry.name] = [file for file in everything(entry) if _is_picture(file)]
    return sorted(classes.items())


def _is_picture(file: Path) -> bool:
    return not file.name.startswith(".") and file.suffix.lower() in SUFFIXES and file.is_file()


def _require_classes(folder: Path | None) -> None:
    classes = _classes(folder)
    for name, files in classes:
        assert folder is not None, "it has classes"
        others = [] if files else [file for file in everything(folder / name) if not file.name.startswith(".")]
        if others:
            raise DataError(
                f"{folder / name}: no picture in it, {others[0].name} is none; the formats are {', '.join(SUFFIXES)}"
            )
    if folder is not None and len([files for _, files in classes if files]) == 1:
        name, files = next((name, files) for name, files in classes if files)
        inner = sorted({file.relative_to(folder / name).parts[0] for file in files})
        if len(inner) > 1 and all(file.parent != folder / name for file in files):
            raise DataError(
                f"{folder}: one class folder only, '{name}', with folders in it ({listed(inner)}); if these are the "
                f"classes, move them into {folder}"
            )


def _contents(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        try:
            if file.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB")
            yield str(file), file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from error
