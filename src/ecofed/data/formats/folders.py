"""Folders of pictures: ``train/<class>/*.png`` and ``test/<class>/*.png`` (or another of
:data:`ecofed.data.pictures.SUFFIXES`).

Names that begin with a dot are what systems leave behind (``.ipynb_checkpoints``, ``._001.png``), not pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecofed.config.class_identity import listed
from ecofed.data.formats.owners import FOLDER, list_beside, of_files, owned
from ecofed.data.formats.parts import NAMES, Part, choose, stand_in
from ecofed.data.images import ANYHOW, Split, decode
from ecofed.data.inventory import everything, left_out
from ecofed.data.pictures import SUFFIXES
from ecofed.data.reading import Reading
from ecofed.errors import DataError
from ecofed.errors.foreign_text import clean
from ecofed.slow_work import counted

MAX_FILE_BYTES = 256 << 20


def find(path: Path) -> list[Path]:
    """Every picture of both splits, sorted.

    Raises :class:`DataError` for a sub-folder of files none of which is a picture: a class would silently be missing.
    """
    files: list[Path] = []
    for folder in _splits(path).values():
        classes = class_folders(folder)
        require_classes(folder, classes)
        files += pictures_of(classes)
    return files + [place for place in map(list_beside, _splits(path).values()) if files and place.is_file()]


def read(path: Path, part: Part, how: Reading = ANYHOW) -> Split | None:
    """One split; classes are the sub-folders, by name. What lies in folders of theirs is of the class too."""
    splits = _splits(path)
    if part == "train" and part not in splits:
        _refuse_without_training(path, splits)
    folder = splits.get(part)
    classes = {} if folder is None else {name: files for name, files in class_folders(folder).items() if files}
    if folder is None or not classes:
        return None
    return read_classes(classes, folder, part, how)


def _refuse_without_training(path: Path, splits: dict[Part, Path]) -> None:
    """Raises :class:`DataError` where other folders may hold what to train on."""
    others = tuple(name for name, files in class_folders(path).items() if files and path / name not in splits.values())
    if others:
        tested = ", ".join(f"{folder.name}/" for folder in splits.values())
        raise DataError(
            f"{path}: {clean(tested)} bears the name of a split, and there is no train/, so that {listed(others)} are "
            f"not taken; if these are classes, move them into train/, or move or rename {clean(tested)} to have them "
            "divided"
        )


def read_classes(classes: dict[str, list[Path]], folder: Path, part: Part, how: Reading) -> Split:
    """These pictures of classes, which lie in ``folder``."""
    pictures = pictures_of(classes)
    owners = None
    if (column := how.device_column) is not None:
        place = str(list_beside(folder))
        owners = owned(lambda: of_files(pictures, folder, column), place, needed=how.device_needed)
    decoded = decode(lambda: counted(contents(pictures), len(pictures), f"reading {part} pictures"), how)
    labels_N = np.repeat(np.arange(len(classes), dtype=np.int64), [len(files) for files in classes.values()])
    return decoded.split(labels_N, tuple(classes), owners)


def notes(path: Path, how: Reading = ANYHOW) -> list[str]:
    """What is not taken; class folders that are empty, and those with folders of their own."""
    told: list[str] = []
    taken: list[Path] = []
    splits = _splits(path)
    for part, folder in splits.items():
        classes = class_folders(folder)
        taken += pictures_of(classes)
        if substitute := stand_in(part, folder.name):
            told.append(f"{path}: {substitute}")
        if empty := without_pictures(folder, classes):
            told.append(empty)
        deeper = [file for name, files in classes.items() for file in files if file.parent != folder / name]
        if how.device_column and how.device_column != FOLDER:
            taken.append(list_beside(folder))
        if deeper and how.device_column != FOLDER:
            example = clean(str(deeper[0].relative_to(folder)))
            told.append(
                f"{folder}: {len(deeper):,} pictures lie in folders of their class's folder ({example}); the outer "
                "folder is their class"
            )
    return told + left_out(path, taken, splits.values())


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


def _splits(path: Path) -> dict[Part, Path]:
    """The folder of each split that is there."""
    if not path.is_dir():
        return {}
    folders = {entry.name: entry for entry in path.iterdir() if entry.is_dir()}
    chosen = {part: choose(path, part, folders) for part in NAMES}
    return {part: found[1] for part, found in chosen.items() if found is not None}


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """Class names, sorted, with their pictures; those of classes without any are empty."""
    entries = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return {entry.name: [file for file in everything(entry) if _is_picture(file)] for entry in entries}


def without_pictures(folder: Path, classes: dict[str, list[Path]]) -> str:
    """A note of class folders that are empty, where there are some."""
    empty = [clean(name) for name, files in classes.items() if not files]
    return f"{folder}: without a picture, and so no class: {', '.join(empty)}" if empty else ""


def pictures_of(classes: dict[str, list[Path]]) -> list[Path]:
    return [file for files in classes.values() for file in files]


def _is_picture(file: Path) -> bool:
    return not file.name.startswith(".") and file.suffix.lower() in SUFFIXES and file.is_file()


def require_classes(folder: Path, classes: dict[str, list[Path]]) -> None:
    for name in [name for name, files in classes.items() if not files]:
        others = [file for file in everything(folder / name) if not file.name.startswith(".")]
        if others:
            raise DataError(
                f"{folder / name}: no picture in it, {others[0].name} is none; the formats are {', '.join(SUFFIXES)}"
            )
    filled = [name for name, files in classes.items() if files]
    if len(filled) == 1:
        (name,) = filled
        inner = sorted({file.relative_to(folder / name).parts[0] for file in classes[name]})
        if len(inner) > 1 and all(file.parent != folder / name for file in classes[name]):
            raise DataError(
                f"{folder}: one class folder only, '{name}', with folders in it ({listed(inner)}); if these are the "
                f"classes, move them into {folder}"
            )


def contents(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for file in files:
        try:
            if file.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{file}: larger than {MAX_FILE_BYTES >> 20} MiB")
            yield str(file), file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from error
