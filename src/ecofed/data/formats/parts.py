"""The names under which the two splits of a data set are found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from ecofed.errors import DataError

Part = Literal["train", "test"]

#: In order: a validation split is what is tested on where there is no test split.
NAMES: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "test": ("test", "testing", "val", "valid", "validation"),
}

T = TypeVar("T")


def choose(folder: Path, part: Part, found: Mapping[str, T]) -> tuple[str, T] | None:
    """The name a split has in a folder, spelt as there, and what is there under that name.

    Raises :class:`DataError` where one name is there in two spellings.
    """
    for name in NAMES[part]:
        spellings = sorted(spelling for spelling in found if spelling.lower() == name)
        if len(spellings) > 1:
            raise DataError(f"{folder}: holds {' and '.join(spellings)}; keep one of them, or join them")
        if spellings:
            return spellings[0], found[spellings[0]]
    return None


def stand_in(part: Part, name: str) -> str:
    """A note, where a split is found under a name that others use for something else."""
    if part == "test" and name.lower() not in ("test", "testing"):
        return f"there is no test split: '{name}' is what is tested on"
    return ""
