"""The layouts that a folder (or file) of images may have: one module and one line each.

A format finds its files in a path, without reading them, and reads one split of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecofed.data.formats import cifar, folders, idx, parquet
from ecofed.data.formats.parts import Part
from ecofed.data.images import Split


@dataclass(frozen=True, kw_only=True)
class Format:
    """A layout: how to recognise it and how to read it."""

    layout: str
    """What the user has to provide, in a few words, for messages."""
    find: Callable[[Path], list[Path]]
    """The files of this layout in a path; empty when it is another layout."""
    read: Callable[[Path, Part, int | None, tuple[int, ...]], Split | None]
    """One split, ``None`` when the path has no such split; white level and size as for
    :func:`ecofed.data.images.decode`.

    Raises :class:`DataError` for malformed files.
    """
    notes: Callable[[Path], list[str]]
    """What lies in the path and is not taken, or is taken for something that its name does not say."""


def _of(module: Any) -> dict[str, Any]:
    return {"find": module.find, "read": module.read, "notes": module.notes}


FORMATS: dict[str, Format] = {
    "parquet": Format(
        layout="train.parquet and test.parquet", find=parquet.find, read=parquet.read, notes=parquet.notes
    ),
    "idx": Format(
        layout="MNIST's idx files (train-images-idx3-ubyte.gz, ...)", find=idx.find, read=idx.read, notes=idx.notes
    ),
    "cifar": Format(
        layout="CIFAR's binary archive (cifar-10-binary.tar.gz)", find=cifar.find, read=cifar.read, notes=cifar.notes
    ),
    "folders": Format(
        layout="class folders under train/ and test/", find=folders.find, read=folders.read, notes=folders.notes
    ),
}
