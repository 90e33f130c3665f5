"""Class folders without a division into training and test: ``<class>/*.jpg``, as people collect pictures.

A fifth of each class is tested on, chosen by the names of the files: more pictures leave those that were chosen where
they are, nearly all of them.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from ecofed.config.class_identity import listed
from ecofed.data.formats.folders import class_folders, pictures_of, read_classes, require_classes, without_pictures
from ecofed.data.formats.owners import FOLDER, list_beside
from ecofed.data.formats.parts import NAMES, Part
from ecofed.data.images import ANYHOW, Split
from ecofed.data.inventory import left_out
from ecofed.data.reading import Reading
from ecofed.errors import DataError

TESTED = 5
"""One picture in so many."""
_SPLITS = {name for part in NAMES.values() for name in part}


def find(path: Path) -> list[Path]:
    """Every picture of at least two classes; none where a folder has the name of a split.

    Raises :class:`DataError` for a sub-folder of files none of which is a picture.
    """
    if not path.is_dir():
        return []
    classes = class_folders(path)
    if _SPLITS & {name.lower() for name in classes} or sum(map(bool, classes.values())) < 2:
        return []
    require_classes(path, classes)
    return pictures_of(classes) + [place for place in [list_beside(path)] if place.is_file()]


def only_class(path: Path) -> str | None:
    """The one class of a folder that has pictures of no other, and is no split of a data set."""
    if not path.is_dir():
        return None
    filled = [name for name, files in class_folders(path).items() if files]
    return filled[0] if len(filled) == 1 and filled[0].lower() not in _SPLITS else None


def named_as_splits(path: Path) -> list[str]:
    """Folders of pictures that bear the name of a split, beside others that do not: they are no classes."""
    if not path.is_dir():
        return []
    filled = [name for name, files in class_folders(path).items() if files]
    splits = [name for name in filled if name.lower() in _SPLITS]
    return splits if len(splits) < len(filled) else []


def read(path: Path, part: Part, how: Reading = ANYHOW) -> Split | None:
    """One part; classes are the folders, by name."""
    chosen = {name: divided(files, path)[part] for name, files in class_folders(path).items() if files}
    if part == "test" and not any(chosen.values()):
        raise DataError(
            f"{path}: each class has one picture only, which leaves none to test on; a class needs at least 2, or the "
            "folder a test/ beside a train/"
        )
    return read_classes({name: files for name, files in chosen.items() if files}, path, part, how)


def notes(path: Path, how: Reading = ANYHOW) -> list[str]:
    """How they are divided; what is not taken."""
    folders = class_folders(path)
    classes = {name: files for name, files in folders.items() if files}
    taken = pictures_of(classes)
    tested = sum(len(divided(files, path)["test"]) for files in classes.values())
    single = tuple(name for name, files in classes.items() if len(files) == 1)
    but = f"; of a single picture ({listed(single)}) none" if single else ""
    told = [
        f"{path}: has no train/ and test/: its folders are the classes ({listed(tuple(classes))}), and {tested:,} of "
        f"{len(taken):,} pictures are what is tested on: one in {TESTED} of each class, at least one{but}"
    ]
    if empty := without_pictures(path, folders):
        told.append(empty)
    deeper = [file for name, files in classes.items() for file in files if file.parent != path / name]
    if deeper and how.device_column != FOLDER:
        told.append(f"{path}: {len(deeper):,} pictures lie in folders of a class's folder, which is their class")
    if how.device_column and how.device_column != FOLDER:
        taken.append(list_beside(path))
    return told + left_out(path, taken, [path / name for name in classes])


def divided(files: list[Path], folder: Path) -> dict[Part, list[Path]]:
    """A class's pictures, each in one part; of a single one nothing is left to test on."""
    count = max(len(files) // TESTED, 1) if len(files) > 1 else 0
    tested = set(sorted(files, key=lambda file: _draw(file.relative_to(folder)))[:count])
    return {
        "train": [file for file in files if file not in tested],
        "test": [file for file in files if file in tested],
    }


def _draw(name: Path) -> bytes:
    return blake2b(name.as_posix().encode("utf-8", "surrogateescape"), digest_size=8).digest()
