"""The layouts that a folder (or file) of images may have: one module and one line each.

A format finds its files in a path, without reading them, and reads one split of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecofed.data.formats import cifar, folders, idx, lists, parquet, undivided
from ecofed.data.formats.parts import Part
from ecofed.data.images import Split
from ecofed.data.reading import Reading


@dataclass(frozen=True, kw_only=True)
class Format:
    """A layout: how to recognise it and how to read it."""

    layout: str
    """What the user has to provide, in a few words, for messages."""
    find: Callable[[Path], list[Path]]
    """The files of this layout in a path; empty when it is another layout."""
    read: Callable[[Path, Part, Reading], Split | None]
    """One split, ``None`` when the path has no such split.

    Raises :class:`DataError` for malformed files.
    """
    last_resort: bool = False
    """Only where the path has no other layout."""
    version: str = ""
    """Of what reads it, for caches: of a plug-in's format, its digest; raised where the same files are read
    otherwise than before."""
    notes: Callable[[Path, Reading], list[str]]
    """What lies in the path and is not taken, or is taken for something that its name does not say."""


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
    "lists": Format(
        layout="pictures and a list of what they show (labels.csv; or train.csv and test.csv)",
        find=lists.find,
        read=lists.read,
        notes=lists.notes,
        last_resort=True,
        version="2",
    ),
    "undivided": Format(
        layout="class folders", find=undivided.find, read=undivided.read, notes=undivided.notes, last_resort=True
    ),
}
