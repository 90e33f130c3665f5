"""What lies in a data folder, and what of it is not taken. Nothing is left out of a training set without a word."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ecofed.data.pictures import SUFFIXES
from ecofed.errors import DataError
from ecofed.errors.foreign_text import clean

MOST_ENTRIES = 2_000_000
"""A folder with more is looked through no further: somebody's home, not a data set."""

#: About the data, or left behind by systems: nobody expects them to be trained on.
_ABOUT = ("readme", "license", "licence", "copying", "citation")
_SYSTEM = {"thumbs.db", "desktop.ini", ".ds_store", ".gitattributes", ".gitignore", ".gitkeep", ".git", ".directory"}
_SHOWN = 3


def everything(folder: Path) -> Iterator[Path]:
    """All that lies in a folder and in its sub-folders, sorted, hidden folders closed. Links are followed.

    Raises :class:`DataError` for a folder that cannot be read, that links to itself, or that has no end.
    """
    left = MOST_ENTRIES

    def within(place: Path, above: dict[tuple[int, int], Path]) -> Iterator[Path]:
        nonlocal left
        try:
            with os.scandir(place) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise DataError(f"{place}: cannot be read ({error.strerror})") from error
        left -= len(here)
        if left < 0:
            raise DataError(f"{folder}: more than {MOST_ENTRIES:,} files; name the folder of the data set itself")
        for entry in here:
            inner = place / entry.name
            if entry.is_dir() and not entry.name.startswith("."):
                own = _identity(inner)
                if own in above:
                    link = _leading_back(above[own], inner)
                    raise DataError(f"{link}: links to a folder that it lies in; remove the link")
                yield from within(inner, above | {own: inner})
            else:
                yield inner

    yield from within(folder, {_identity(folder): folder})


def _identity(place: Path) -> tuple[int, int]:
    found = place.stat()
    return found.st_dev, found.st_ino


def _leading_back(upper: Path, lower: Path) -> Path:
    """Of two paths of one folder, the second below the first: the link between them by which one comes back.

    It need not be the last name of the path: below a link to a folder above, the folder itself is met again. Of two
    links that only together make a circle it is the lower one.
    """
    between = [lower, *lower.parents]
    links = [place for place in between[: between.index(upper)] if place.is_symlink()]
    itself = [place for place in links if place.parent.resolve().is_relative_to(place.resolve())]
    return (itself or links or [lower])[0]


def left_out(
    path: Path,
    taken: Iterable[Path],
    read_in: Iterable[Path] = (),
    *,
    loose: str = "pictures in no class folder",
) -> list[str]:
    """A line that counts what is in ``path`` and not taken, with examples; none where everything is.

    Args:
        path: a data set's folder, or a file (which leaves nothing out).
        taken: the files that are read.
        read_in: folders of ``path`` that are looked into for files to take, besides ``path``.
        loose: what pictures there are that are not taken.

    Raises:
        DataError: as for :func:`everything`.
    """
    if not path.is_dir():
        return []
    known, folders = set(taken), {path, *read_in}
    found: dict[str, list[Path]] = {}
    for entry in everything(path):
        if entry not in known and not _expected(entry.name):
            found.setdefault(_reason(path, entry, folders, loose), []).append(entry.relative_to(path))
    counted = [f"{len(names):,} {reason} ({_some(names)})" for reason, names in sorted(found.items())]
    return [f"{path}: not taken: {'; '.join(counted)}"] if counted else []


def _expected(name: str) -> bool:
    lower = name.lower()
    return lower.startswith((*_ABOUT, "._")) or lower.endswith(".md") or lower in _SYSTEM


def _reason(root: Path, entry: Path, folders: set[Path], loose: str) -> str:
    suffix = entry.suffix.lower()
    if entry.is_symlink() and not entry.exists():
        return "broken links"
    if entry.name.startswith("."):
        return "hidden"
    if not entry.is_file():
        return "neither files nor folders"
    if entry.parent != root and (folders - {root}).isdisjoint(entry.parents):
        return f"in {entry.relative_to(root).parts[0]}/, which is not read"
    if suffix in SUFFIXES:
        return loose
    return f"of kind {clean(suffix)}" if suffix else "of unknown kind"


def _some(names: list[Path]) -> str:
    shown = [clean(str(name)) for name in names[:_SHOWN]]
    return ", ".join([*shown, "..."] if len(names) > _SHOWN else shown)
