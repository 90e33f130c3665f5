"""CIFAR's official archives, in their binary form, packed (tar.gz) or unpacked.

A record is the label byte (CIFAR-100: coarse, then fine) and 3,072 bytes, channel by channel. The "python version"
is pickle, which can run code when it is opened, so it is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ecofed.config.class_identity import listed
from ecofed.data.archives import Unpacked, tar_members
from ecofed.data.formats.parts import Part
from ecofed.data.images import ANYHOW, Split, native_size
from ecofed.data.inventory import left_out
from ecofed.data.reading import Reading
from ecofed.errors import ConfigError, DataError
from ecofed.files.disk import read_text

_SIDE = 32
_IMAGE_BYTES = 3 * _SIDE * _SIDE
_MAX_FILE_BYTES = 50_000 * (_IMAGE_BYTES + 2)

_CIFAR10: dict[str, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
_CIFAR100: dict[str, tuple[str, ...]] = {"train": ("train.bin",), "test": ("test.bin",)}
# folder name -> label bytes of a record, files of each split
_FOLDERS: dict[str, tuple[int, dict[str, tuple[str, ...]]]] = {
    "cifar-10-batches-bin": (1, _CIFAR10),
    "cifar-100-binary": (2, _CIFAR100),
}
_ARCHIVES = {"cifar-10-binary.tar.gz": "cifar-10-batches-bin", "cifar-100-binary.tar.gz": "cifar-100-binary"}
#: The names of the classes, a line each. Those of an archive we know; files that lie open may be somebody's own.
_NAMES = {"cifar-10-batches-bin": "batches.meta.txt", "cifar-100-binary": "fine_label_names.txt"}
_DESCRIPTIONS = (*_NAMES.values(), "coarse_label_names.txt")
_MAX_NAMES_BYTES = 1 << 16
_PICKLES = ("cifar-10-python.tar.gz", "cifar-100-python.tar.gz", "cifar-10-batches-py", "cifar-100-python")


def find(path: Path) -> list[Path]:
    """The archive, or the unpacked files and the names beside them."""
    archive = _archive(path)
    if archive is not None:
        return [archive]
    unpacked = _unpacked(path)
    if unpacked is not None:
        _, files = _FOLDERS[unpacked[1]]
        wanted = [*(name for part in files.values() for name in part), _NAMES[unpacked[1]]]
        return [unpacked[0] / name for name in wanted if (unpacked[0] / name).is_file()]
    pickles = [path] if path.name in _PICKLES else [path / name for name in _PICKLES if (path / name).exists()]
    if pickles:
        binary = "cifar-100-binary.tar.gz" if "100" in pickles[0].name else "cifar-10-binary.tar.gz"
        raise DataError(
            f"{pickles[0]}: the python version of CIFAR is pickle, which is never opened; put {binary} there instead"
        )
    return []


def read(path: Path, part: Part, how: Reading = ANYHOW) -> Split | None:
    """One split, its batches in order."""
    archive, names = _archive(path), None
    if archive is not None:
        folder = _ARCHIVES[archive.name]
        contents = _from_archive(archive, folder, _FOLDERS[folder][1][part])
        source = archive
    else:
        unpacked = _unpacked(path)
        assert unpacked is not None, "read() follows find()"
        source, folder = unpacked
        contents = _from_folder(source, _FOLDERS[folder][1][part])
        names = _names(source / _NAMES[folder])
    split = _parse(source, contents, _FOLDERS[folder][0])
    split = replace(split, images_NHWC=native_size(split.images_NHWC[:], how.frame))
    if names is None:
        return split
    if split.labels_N.max() >= len(names):
        raise DataError(
            f"{source / _NAMES[folder]}: label {split.labels_N.max()} is outside the {len(names)} named classes; "
            f"they are {listed(names)}"
        )
    return replace(split, label_names=names)


def notes(path: Path, how: Reading = ANYHOW) -> list[str]:  # noqa: ARG001
    """What is not taken."""
    files = find(path)
    descriptions = [] if _archive(path) is not None else [files[0].with_name(name) for name in _DESCRIPTIONS]
    return left_out(path, [*files, *descriptions], {file.parent for file in files})


def _archive(path: Path) -> Path | None:
    candidates = [path] if path.is_file() else [path / name for name in _ARCHIVES]
    return next((file for file in candidates if file.name in _ARCHIVES and file.is_file()), None)


def _unpacked(path: Path) -> tuple[Path, str] | None:
    """The folder that holds the .bin files, and which of the two sets it is."""
    for name, (_, files) in _FOLDERS.items():
        for folder in (path / name, path):
            if (folder / files["train"][0]).is_file():
                return folder, name
    return None


def _names(file: Path) -> tuple[str, ...] | None:
    """The classes that a file beside the unpacked ones names, or ``None`` without one."""
    if not file.is_file():
        return None
    if file.stat().st_size > _MAX_NAMES_BYTES:
        raise DataError(f"{file}: has {file.stat().st_size:,} bytes, more than the names of classes take")
    try:
        text = read_text(file)
    except ConfigError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip()) or None


def _from_archive(archive: Path, folder: str, names: tuple[str, ...]) -> dict[str, bytes]:
    wanted = {f"{folder}/{name}": name for name in names}
    contents: dict[str, bytes] = {}
    with Unpacked(archive) as source:
        for member in tar_members(source):
            name = wanted.get(member.name.removeprefix("./"))
            if name is None:
                continue
            if not member.is_file or name in contents:
                raise DataError(f"{archive}: {name} is there twice, or is no plain file; fetch it again")
            _check_size(archive, name, member.size)
            contents[name] = member.read()
            if len(contents) == len(wanted):
                break
    return _complete(archive, contents, names)


def _from_folder(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for name in names:
        if (folder / name).is_file():
            _check_size(folder, name, (folder / name).stat().st_size)
            contents[name] = (folder / name).read_bytes()
    return _complete(folder, contents, names)


def _complete(source: Path, contents: dict[str, bytes], names: tuple[str, ...]) -> dict[str, bytes]:
    missing = [name for name in names if name not in contents]
    if missing:
        raise DataError(f"{source}: {', '.join(missing)} missing; fetch it again")
    return {name: contents[name] for name in names}


def _check_size(source: Path, name: str, size: int) -> None:
    if size > _MAX_FILE_BYTES:
        raise DataError(f"{source}: {name} has {size:,} bytes, more than 50,000 images take")


def _parse(source: Path, contents: dict[str, bytes], label_bytes: int) -> Split:
    record = label_bytes + _IMAGE_BYTES
    for name, content in contents.items():
        if not content or len(content) % record:
            raise DataError(
                f"{source}: {name} has {len(content):,} bytes, not a multiple of {record:,}; fetch it again"
            )
    records_ND = np.frombuffer(b"".join(contents.values()), np.uint8).reshape(-1, record)
    images_NCHW = records_ND[:, label_bytes:].reshape(-1, 3, _SIDE, _SIDE)
    return Split(
        images_NHWC=np.ascontiguousarray(images_NCHW.transpose(0, 2, 3, 1)),
        labels_N=records_ND[:, label_bytes - 1].astype(np.int64),
    )
