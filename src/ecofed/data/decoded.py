"""Read both splits of a source, through a cache of decoded arrays.

Decoding 50,000 JPEGs takes many seconds; the decoded arrays load in a fraction of one. Entries are keyed by the content
of the source's files, not by their time stamps, which survive a change (``cp -p``, ``rsync -t``, unpacking, a clock
that was set). Reading and hashing 50,000 files takes about a tenth of the time that decoding them does. A damaged entry
is rebuilt. What is checked of a source is checked before the cache is asked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from ecofed.config.network_input import FULL_WHITE
from ecofed.data.formats import Format
from ecofed.data.images import ANYHOW, Split
from ecofed.data.places import cache_folder
from ecofed.data.reading import Reading
from ecofed.data.stored import ImageRows, RowFile, StoredImages, digest_of
from ecofed.errors import DataError, StorageError
from ecofed.files.disk import remove_abandoned, writing
from ecofed.files.reading import opened

VERSION = 5
"""Raise when what is stored, or how pictures are decoded, changes."""

_CHUNK = 1 << 20
#: Of the array in an entry that names the others; entries of earlier versions do not have it.
_NAMES = "names"

Splits = tuple[Split, Split | None]


class NoTrainingImagesError(DataError):
    """A data set of test images, if of any."""


def read_splits(path: Path, layout: Format, how: Reading = ANYHOW) -> Splits:
    """The training split and, where there is one, the test split.

    Raises :class:`DataError`.
    """
    try:
        files = layout.find(path)
        before = _stamps(files)
        source, content = _digest(str(path.resolve()).encode("utf-8", "surrogateescape")), _content(path, layout, files)
        entry = _entry(source, content, how)
        for place in [*_unasked(entry, source, content, how), entry]:
            cached = _load(place)
            if cached is not None and (place == entry or _serves(cached, how)):
                return cached
        train, test = None, None
        train = layout.read(path, "train", replace(how, store=_rows_file(entry, "train")))
        if train is not None:
            later = how.of_test(how.white or train.white or FULL_WHITE, train.images_NHWC.shape[1:3])
            test = layout.read(path, "test", replace(later, store=_rows_file(entry, "test")))
        unchanged = _stamps(files) == before
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if train is None or len(train.labels_N) == 0:
        raise NoTrainingImagesError(f"{path}: holds no training images; expected {layout.layout}")
    if test is not None and len(test.labels_N) == 0:
        raise DataError(f"{path}: its test split is empty")
    if unchanged:  # else these are perhaps the pixels of other bytes than those hashed
        _store(entry, source, content, train, test)
    else:
        for part in ("train", "test"):
            _rows_file(entry, part).unlink(missing_ok=True)
    return train, test


def _unasked(entry: Path, source: str, content: str, how: Reading) -> list[Path]:
    """What was read without asking for a white level and a size: it serves where these are the ones that are asked for,
    or play no role. What says whose image it is serves those who do not ask, too."""
    own = replace(how, white=None, frame=replace(how.frame, sides=()))
    exact = _entry(source, content, own)
    others = [] if own.device_column else entry.parent.glob(f"{exact.stem}-of-*.npz")
    return [place for place in (exact, *sorted(others)) if place != entry]


def _serves(splits: Splits, how: Reading) -> bool:
    """Whether what was read without asking for a white level and a size is what these would give."""
    (train, test), size, white = splits, how.frame.sides, how.white
    if size and any(split is not None and split.images_NHWC.shape[1:3] != size for split in splits):
        return False
    deep = train.white or (test is not None and test.white)
    return white is None or not deep or white == (train.white or FULL_WHITE)


def _stamps(files: Sequence[Path]) -> list[tuple[int, ...]]:
    return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in (file.stat() for file in files)]


def _content(path: Path, layout: Format, files: Sequence[Path]) -> str:
    """Of the names and the bytes of a source's files, and of what decodes them."""
    read_by = (VERSION, PIL.__version__, layout.layout, *filter(None, [layout.version]))
    whole = blake2b(repr(read_by).encode(), digest_size=20)
    for file in files:
        # With their folders: a picture's folder is its label, and moving it changes nothing else.
        name = os.path.relpath(file, path).encode("utf-8", "surrogateescape")
        own = blake2b(digest_size=20)
        with opened(file, buffering=0) as stream:
            while block := stream.read(_CHUNK):
                own.update(block)
        whole.update(len(name).to_bytes(8, "big") + name + own.digest())
    return whole.hexdigest()


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=12).hexdigest()


def _entry(source: str, content: str, how: Reading) -> Path:
    return cache_folder() / "decoded" / f"{source}-{content}-{how.key}.npz"


def _rows_file(entry: Path, part: str) -> Path:
    """Where photographs are kept that are not held in memory."""
    return entry.with_suffix(f".{part}")


def _store(entry: Path, source: str, content: str, train: Split, test: Split | None) -> None:
    arrays = _to_arrays("train", train) | (_to_arrays("test", test) if test is not None else {})
    arrays[_NAMES] = np.array(sorted(arrays), np.str_)
    try:
        with writing(entry, durable=False) as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        remove_abandoned(entry.parent)
        for stale in entry.parent.glob(f"{source}-*"):
            if not stale.name.startswith(f"{source}-{content}-"):
                stale.unlink(missing_ok=True)
    except (OSError, StorageError):
        pass  # a full or read-only disk costs time on the next run, nothing else


def _to_arrays(part: str, split: Split) -> dict[str, Any]:
    images_NHWC = split.images_NHWC
    stored = isinstance(images_NHWC, StoredImages)
    arrays: dict[str, Any] = {
        "images": np.array(images_NHWC.shape) if stored else images_NHWC,
        "labels": split.labels_N,
        "depth": np.array([split.white, split.needed, split.too_bright, split.several], np.int64),
    }
    if split.label_names is not None:
        arrays["names"] = np.array(split.label_names, np.str_)
    if split.compressed_as is not None:
        arrays |= {
            "compressed_as": np.array(split.compressed_as),
            "compressed_bytes": split.compressed_bytes_N,
            "shared_header_bytes": np.array(split.shared_header_bytes),
        }
    if stored:
        arrays["digest"] = np.array(digest_of(images_NHWC))
    if split.device_N is not None:
        arrays["devices"] = split.device_N
        arrays["device_names"] = np.array(split.device_names, np.str_)
    return {f"{part}_{key}": value for key, value in arrays.items()}


def _load(entry: Path) -> Splits | None:
    try:
        with opened(entry) as stream, np.load(stream, allow_pickle=False) as arrays:
            if _NAMES in arrays and sorted(arrays.files) != sorted([*arrays[_NAMES].tolist(), _NAMES]):
                return None  # contents have checksums in the archive, what they are called has none
            train = _from_arrays("train", arrays, entry)
            return train, _from_arrays("test", arrays, entry) if "test_images" in arrays else None
    except Exception:  # a damaged archive fails in many ways
        return None


def _from_arrays(part: str, arrays: Any, entry: Path) -> Split:
    """Raises ``ValueError``, ``KeyError`` or ``OSError`` for what :func:`_to_arrays` did not write."""
    images_NHWC, labels_N = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    if f"{part}_digest" in arrays:
        images_NHWC = _rows_of(_rows_file(entry, part), images_NHWC, str(arrays[f"{part}_digest"]))
    if images_NHWC.dtype != np.uint8 or images_NHWC.ndim != 4 or labels_N.dtype != np.int64:
        raise ValueError("not an image cache")
    if labels_N.shape != images_NHWC.shape[:1]:
        raise ValueError("images and labels differ in number")
    white, needed, too_bright, several = arrays[f"{part}_depth"].tolist()
    compressed = f"{part}_compressed_as" in arrays
    return Split(
        images_NHWC=images_NHWC,
        labels_N=labels_N,
        label_names=tuple(arrays[f"{part}_names"].tolist()) if f"{part}_names" in arrays else None,
        compressed_as=str(arrays[f"{part}_compressed_as"]) if compressed else None,
        compressed_bytes_N=arrays[f"{part}_compressed_bytes"] if compressed else None,
        shared_header_bytes=int(arrays[f"{part}_shared_header_bytes"]) if compressed else 0,
        device_N=arrays.get(f"{part}_devices"),
        device_names=tuple(arrays.get(f"{part}_device_names", np.empty(0, np.str_)).tolist()),
        white=white,
        needed=needed,
        too_bright=too_bright,
        several=several,
    )


def _rows_of(file: Path, shape: np.ndarray, digest: str) -> ImageRows:
    """The photographs that belong to an entry. Raises ``ValueError`` where they are not what was written."""
    count, height, width, channels = shape.tolist()
    images_NHWC = StoredImages(RowFile(opened(file)), (height, width, channels), np.arange(count))
    if file.stat().st_size != count * height * width * channels or digest_of(images_NHWC) != digest:
        raise ValueError("not the photographs of this cache")
    return images_NHWC
