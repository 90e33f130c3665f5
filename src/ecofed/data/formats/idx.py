"""MNIST's idx files, plain or gzipped: a big-endian header (type, dimensions) and raw unsigned bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecofed.data.archives import Unpacked
from ecofed.data.formats.parts import Part
from ecofed.data.images import ANYHOW, Split, native_size
from ecofed.data.inventory import left_out
from ecofed.data.reading import Reading
from ecofed.errors import DataError
from ecofed.files.reading import opened

MAX_BYTES = 4 << 30
"""A header that promises more is refused before memory is taken for it."""

_PREFIX = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTE = 0x08


def find(path: Path) -> list[Path]:
    """The idx files in a folder; empty without training images."""
    files = [_file(path, part, kind) for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")]
    return [file for file in files if file is not None] if files[0] is not None else []


def read(path: Path, part: Part, how: Reading = ANYHOW) -> Split | None:
    """One split: images and labels in two files."""
    images, labels = _file(path, part, "images-idx3"), _file(path, part, "labels-idx1")
    if images is None:
        return None
    if labels is None:
        raise DataError(f"{images}: its labels are missing; expected {_PREFIX[part]}-labels-idx1-ubyte.gz beside it")
    images_NHW, labels_N = _array(images, 3), _array(labels, 1)
    if len(images_NHW) != len(labels_N):
        raise DataError(f"{images}: {len(images_NHW):,} images but {len(labels_N):,} labels in {labels.name}")
    return Split(images_NHWC=native_size(images_NHW[..., None], how.frame), labels_N=labels_N.astype(np.int64))


def notes(path: Path, how: Reading = ANYHOW) -> list[str]:  # noqa: ARG001
    """What is not taken."""
    return left_out(path, find(path))


def _file(folder: Path, part: str, kind: str) -> Path | None:
    # Some copies write "images.idx3" for "images-idx3".
    for name in (f"{_PREFIX[part]}-{kind}-ubyte", f"{_PREFIX[part]}-{kind.replace('-', '.')}-ubyte"):
        for candidate in (folder / f"{name}.gz", folder / name):
            if candidate.is_file():
                return candidate
    return None


def _array(file: Path, dimensions: int) -> np.ndarray:
    """The array of one file, uint8."""
    try:
        if file.suffix == ".gz":
            with Unpacked(file) as unpacked:
                return _parsed(file, unpacked.read, dimensions)
        with opened(file) as stream:
            most = file.stat().st_size
            return _parsed(file, lambda count: stream.read(min(count, most)), dimensions)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error})") from error


def _parsed(file: Path, read: Callable[[int], bytes], dimensions: int) -> np.ndarray:
    header = read(4 + 4 * dimensions)
    if len(header) < 4 + 4 * dimensions or header[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise DataError(f"{file}: not an idx file of unsigned bytes with {dimensions} dimension(s)")
    shape = tuple(int(length) for length in np.frombuffer(header, ">u4", offset=4))
    expected = math.prod(shape)
    if expected > MAX_BYTES:
        raise DataError(f"{file}: its header promises {expected:,} bytes, more than {MAX_BYTES:,}")
    # One byte more than promised shows trailing data, without reading all of it.
    content = read(expected + 1)
    if len(content) != expected:
        found = "more" if len(content) > expected else f"{len(content):,}"
        raise DataError(f"{file}: its header promises {expected:,} bytes but it holds {found}; fetch it again")
    if expected == 0:
        raise DataError(f"{file}: holds no data")
    return np.frombuffer(content, np.uint8).reshape(shape)
