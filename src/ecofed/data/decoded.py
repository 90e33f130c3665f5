"""Read both splits of a source, through a cache of decoded arrays.

Decoding 50,000 JPEGs takes seconds; the decoded arrays load in a fraction of one. Entries are keyed by the source's
path and by the paths, sizes and modification times of its files; a damaged entry is rebuilt.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.data.formats import Format
from ecofed.data.images import Split
from ecofed.data.places import cache_folder
from ecofed.errors import DataError, StorageError
from ecofed.files import writing

VERSION = 3
"""Raise when what is stored, or how pictures are decoded, changes."""


def read_splits(path: Path, layout: Format) -> tuple[Split, Split | None]:
    """The training split and, where there is one, the test split. Raises :class:`DataError`."""
    entry = _entry(path, layout)
    cached = _load(entry)
    if cached is not None:
        return cached
    try:
        train, test = layout.read(path, "train"), layout.read(path, "test")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if train is None or len(train.labels_N) == 0:
        raise DataError(f"{path}: holds no training images; expected {layout.layout}")
    if test is not None and len(test.labels_N) == 0:
        raise DataError(f"{path}: its test split is empty")
    _store(entry, train, test)
    return train, test


def _entry(path: Path, layout: Format) -> Path:
    # With their folders: a picture's folder is its label, and moving it changes nothing else.
    stamps = [(os.path.relpath(file, path), file.stat().st_size, file.stat().st_mtime_ns) for file in layout.find(path)]
    source = _digest(str(path.resolve()))
    return cache_folder() / "decoded" / f"{source}-{_digest(repr((VERSION, stamps)))}.npz"


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def _store(entry: Path, train: Split, test: Split | None) -> None:
    arrays = _to_arrays("train", train) | (_to_arrays("test", test) if test is not None else {})
    try:
        with writing(entry, durable=False) as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        for stale in entry.parent.glob(f"{entry.name.partition('-')[0]}-*.npz"):
            if stale != entry:
                stale.unlink(missing_ok=True)
    except (OSError, StorageError):
        pass  # a full or read-only disk costs time on the next run, nothing else


def _to_arrays(part: str, split: Split) -> dict[str, Any]:
    arrays: dict[str, Any] = {"images": split.images_NHWC, "labels": split.labels_N}
    if split.label_names is not None:
        arrays["names"] = np.array(split.label_names, np.str_)
    if split.compressed_as is not None:
        arrays |= {
            "compressed_as": np.array(split.compressed_as),
            "compressed_bytes": split.compressed_bytes_N,
            "shared_header_bytes": np.array(split.shared_header_bytes),
        }
    return {f"{part}_{key}": value for key, value in arrays.items()}


def _load(entry: Path) -> tuple[Split, Split | None] | None:
    try:
        with entry.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            train = _from_arrays("train", arrays)
            return train, _from_arrays("test", arrays) if "test_images" in arrays else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _from_arrays(part: str, arrays: Any) -> Split:
    """Raises ``ValueError`` or ``KeyError`` for what :func:`_to_arrays` did not write."""
    images_NHWC, labels_N = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    if images_NHWC.dtype != np.uint8 or images_NHWC.ndim != 4 or labels_N.dtype != np.int64:
        raise ValueError("not an image cache")
    if labels_N.shape != images_NHWC.shape[:1]:
        raise ValueError("images and labels differ in number")
    compressed = f"{part}_compressed_as" in arrays
    return Split(
        images_NHWC=images_NHWC,
        labels_N=labels_N,
        label_names=tuple(arrays[f"{part}_names"].tolist()) if f"{part}_names" in arrays else None,
        compressed_as=str(arrays[f"{part}_compressed_as"]) if compressed else None,
        compressed_bytes_N=arrays[f"{part}_compressed_bytes"] if compressed else None,
        shared_header_bytes=int(arrays[f"{part}_shared_header_bytes"]) if compressed else 0,
    )
