"""Parquet files as the Hugging Face hub serves them: a column of encoded pictures and a column of labels.

Needs pyarrow (``ecofed[train]``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.config.class_identity import identity, listed, positions, settled
from ecofed.data.archives import ALWAYS_ALLOWED_BYTES, MOST_TIMES_LARGER
from ecofed.data.formats.columns import class_names, columns_of
from ecofed.data.formats.owners import owned
from ecofed.data.formats.parts import NAMES, Part, choose, stand_in
from ecofed.data.images import ANYHOW, Split, decode
from ecofed.data.inventory import left_out
from ecofed.data.reading import Reading
from ecofed.errors import DataError, MissingExtraError
from ecofed.errors.foreign_text import clean
from ecofed.files.disk import read_text
from ecofed.slow_work import counted

MAX_ROWS = 5_000_000
MAX_ROW_GROUP_BYTES = 2 << 30
#: Each row is a picture. As a file the smallest has some 100 bytes, most of which compress where all are alike.
LEAST_ROW_BYTES = 64
ALWAYS_ALLOWED_ROWS = 1024
#: Few, because one picture of a megabyte may stand in all of them.
ROWS_AT_ONCE = 16
MAX_LABEL = 1000
_LABEL_SHOWN = 80
MAX_SHARDS = 100_000
MAX_LIST_BYTES = 4 << 20

_CLASS_LIST = "classes.txt"
#: ``train.parquet``, or ``train-00000-of-00003.parquet``, to which older sets add a digest.
_FILE = re.compile(
    r"(?P<split>[a-z]+)(?:-(?P<number>\d{1,6})-of-(?P<count>\d{1,6})(?:-[0-9a-f]+)?)?\.parquet", re.IGNORECASE
)


def find(path: Path) -> list[Path]:
    """The parquet files of a folder (or of its direct sub-folders, as in a clone from the hub), or the file itself.

    A list of class names beside them (``classes.txt``) is one of them.
    """
    files = [file for part in NAMES for file in _shards(path, part)]
    return files + _class_lists(files)


def read(path: Path, part: Part, how: Reading = ANYHOW) -> Split | None:
    """One split; a single file is a training split."""
    files = _shards(path, part)
    if not files:
        return None
    opened = [_open(file, how) for file in files]
    labels: list[list[Any]] = [[] for _ in opened]
    owners: list[list[Any]] = [[] for _ in opened]
    rows = sum(shard.table.metadata.num_rows for shard in opened)

    def cells() -> Iterator[tuple[str, bytes]]:
        each = (cell for of_shard in zip(opened, labels, owners, strict=True) for cell in _rows(*of_shard))
        return counted(each, rows, f"reading {part} pictures")

    decoded = decode(cells, how)
    labels_N, names = _joined([_numbered(own, shard) for shard, own in zip(opened, labels, strict=True)])
    told = owned(
        lambda: list(chain(*owners)) if all(shard.device for shard in opened) else None,
        str(files[0]),
        needed=how.device_needed,
    )
    return decoded.split(labels_N, _with_list(labels_N, names, _class_lists(files)), told)


def notes(path: Path, how: Reading = ANYHOW) -> list[str]:  # noqa: ARG001
    """What is not taken, and a split under another name."""
    files = find(path)
    parts = [(part, shards[0]) for part in NAMES if (shards := _shards(path, part)) and path.is_dir()]
    named = [(path, stand_in(part, file.name.split("-")[0].removesuffix(file.suffix))) for part, file in parts]
    return [f"{place}: {text}" for place, text in named if text] + left_out(path, files, {f.parent for f in files})


def _shards(path: Path, part: Part) -> list[Path]:
    """The files of one split, all of them, each once; a single file is a training split.

    Raises :class:`DataError` where some are missing, or the split is there more than once.
    """
    if path.is_file():
        return [path] if part == "train" and path.suffix.lower() == ".parquet" and _is_whole(path) else []
    if not path.is_dir():
        return []
    folders = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))]
    found = {folder: own for folder in folders if (own := _split(folder, part))}
    if len(found) > 1:
        places = ", ".join(clean(str(folder.relative_to(path))) for folder in found)
        raise DataError(f"{path}: several data sets in one place ({places}); name the folder of one of them")
    return next(iter(found.values()), [])


def _split(folder: Path, part: Part) -> list[Path]:
    names: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        match = _FILE.fullmatch(file.name)
        if match and file.is_file():
            names.setdefault(match["split"], []).append(file)
    chosen = choose(folder, part, names)
    return [] if chosen is None else _complete(folder, chosen[1])


def _complete(folder: Path, files: list[Path]) -> list[Path]:
    """The shards of one split in their order."""
    numbered = [(file, match) for file in files if (match := _FILE.fullmatch(file.name)) and match["count"]]
    if not numbered and len(files) == 1:
        return files
    counts = {int(match["count"]) for _, match in numbered}
    shards = {int(match["number"]): file for file, match in numbered}
    if len(numbered) < len(files) or len(counts) > 1 or len(shards) < len(numbered):
        raise DataError(
            f"{folder}: holds one split more than once ({', '.join(file.name for file in files[:6])}); keep either the "
            "whole file or the shards of one division"
        )
    (count,) = counts
    missing = [number for number in range(min(count, MAX_SHARDS)) if number not in shards]
    if missing or len(shards) != count:
        lacking = f"shard {', '.join(f'{number:05d}' for number in missing[:6])} of {count:05d} is missing"
        raise DataError(f"{folder}: {lacking if missing else 'shards beyond the last'}; {files[0].name} is there")
    return [shards[number] for number in range(count)]


def _is_whole(file: Path) -> bool:
    match = _FILE.fullmatch(file.name)
    if match and match["count"] and int(match["count"]) != 1:
        raise DataError(f"{file}: is one of {int(match['count'])} shards; name the folder that holds all of them")
    return True


def _class_lists(files: list[Path]) -> list[Path]:
    lists = {file.with_name(_CLASS_LIST) for file in files}
    return sorted(file for file in lists if file.is_file())


def _with_list(labels_N: np.ndarray, names: tuple[str, ...] | None, lists: list[Path]) -> tuple[str, ...] | None:
    """Class names; where the files have numbers only, those of a list beside them, one in each line."""
    if not lists:
        return names
    where = lists[0]
    if where.stat().st_size > MAX_LIST_BYTES:
        raise DataError(f"{where}: larger than {MAX_LIST_BYTES >> 20} MiB, which is no list of classes")
    text = read_text(where)
    own = settled(tuple(line for line in text.splitlines() if line.strip()), str(where))
    if names is None:
        if len(labels_N) and not (labels_N.min() >= 0 and labels_N.max() < len(own)):
            raise DataError(f"{where}: {len(own)} names; the labels are {labels_N.min()}..{labels_N.max()}")
        return own
    if {identity(name) for name in names} != {identity(name) for name in own}:
        raise DataError(f"{where}: {listed(own)}; the data's own classes are {listed(names)}; remove or mend the list")
    return names


@dataclass(frozen=True, kw_only=True)
class _Shard:
    file: Path
    table: Any
    """A ``pyarrow.parquet.ParquetFile``."""
    image: str
    label: str
    device: str | None
    """The column that says whose image it is, where that was asked for."""
    class_names: tuple[str, ...] | None


def _open(file: Path, how: Reading) -> _Shard:
    """Read a file's schema; nothing else yet."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train", f"reading {file.name}") from error
    with _readable(file):
        size = file.stat().st_size
        # Limits before memory: lengths in a damaged or hostile file say anything.
        table = pq.ParquetFile(file, thrift_string_size_limit=size, thrift_container_size_limit=size, pre_buffer=False)
        schema = table.schema_arrow
        image, label = columns_of(file, schema, how)
        device = how.device_column
        if device is not None and device not in schema.names and not how.device_needed:
            device = None
        if device is not None and device not in schema.names:
            raise DataError(f"{file}: no column '{device}' (data.device_column); it has {', '.join(schema.names)}")
        most = min(MAX_ROWS, ALWAYS_ALLOWED_ROWS + size // LEAST_ROW_BYTES)
        if table.metadata.num_rows > most:
            raise DataError(f"{file}: {table.metadata.num_rows:,} rows are more than pictures in {size:,} bytes can be")
        names = class_names(schema, label)
    return _Shard(file=file, table=table, image=image, label=label, device=device, class_names=names)


def _rows(shard: _Shard, labels: list[Any], owners: list[Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of one file, with where they are, and fill in its labels and whose they are."""
    labels.clear()
    owners.clear()
    file, row = shard.file, 0
    left = most = ALWAYS_ALLOWED_BYTES + MOST_TIMES_LARGER * file.stat().st_size
    for images, numbers, devices in _batches(shard, most):
        owners += devices
        labels += [_label(file, row + at, label) for at, label in enumerate(numbers)]
        for cell in images:
            data = cell.get("bytes") if isinstance(cell, dict) else cell
            if not isinstance(data, bytes):
                raise DataError(f"{file}: row {row}: column '{shard.image}' holds no picture bytes")
            left -= len(data)
            if left < 0:  # one picture in many rows takes no room in the file
                raise DataError(f"{file}: its pictures are more than {MOST_TIMES_LARGER} times its size")
            yield f"{file}: row {row}", data
            row += 1


def _batches(shard: _Shard, most_bytes: int) -> Iterator[tuple[list[Any], list[Any], list[Any]]]:
    """Image, label and device cells, some rows at a time."""
    file, columns = shard.file, [shard.image, shard.label, *([shard.device] if shard.device else [])]
    for group in range(shard.table.num_row_groups):
        with _readable(file):
            size = shard.table.metadata.row_group(group).total_byte_size
            if not 0 <= size <= min(MAX_ROW_GROUP_BYTES, most_bytes):
                raise DataError(f"{file}: row group {group} of {size:,} bytes is more than pictures here can be")
            batches = shard.table.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False)
        while True:
            with _readable(file):
                batch = next(batches, None)
                if batch is None:
                    break
                devices = batch[shard.device].to_pylist() if shard.device else []
                cells = batch[shard.image].to_pylist(), batch[shard.label].to_pylist(), devices
            yield cells


def _label(file: Path, row: int, label: Any) -> Any:
    if not isinstance(label, int | str) or (isinstance(label, str) and len(label) > MAX_LABEL):
        shown = clean(repr(label), _LABEL_SHOWN)
        raise DataError(f"{file}: row {row}: label {shown} is neither a whole number nor a name")
    return label


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """pyarrow's errors as one of ours."""
    import pyarrow as pa

    try:
        yield
    # Names that are no text, columns of one name, sizes that no machine has: each is an error of another kind.
    except (
        *(pa.ArrowException, OSError, ValueError, TypeError, KeyError, IndexError),
        *(OverflowError, MemoryError, RecursionError),
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DataError(f"{file}: not a readable parquet file ({reason})") from error


@dataclass(frozen=True, kw_only=True)
class _Labels:
    """The labels of one file."""

    file: Path
    labels_N: np.ndarray
    """Places in ``names`` where there are any, otherwise the file's own numbers."""
    names: tuple[str, ...] | None
    listed: bool
    """The file lists all classes there are; otherwise ``names`` are those that occur."""


def _numbered(labels: list[Any], shard: _Shard) -> _Labels:
    file, names = shard.file, shard.class_names
    if labels and all(isinstance(label, str) for label in labels):
        occurring = tuple(sorted({identity(label) for label in labels}))
        settled(occurring, str(file))
        place = {name: index for index, name in enumerate(occurring)}
        labels_N = np.array([place[identity(label)] for label in labels], np.int64)
        return _Labels(file=file, labels_N=labels_N, names=occurring, listed=False)
    for row, label in enumerate(labels):
        if not isinstance(label, int) or not -(2**63) <= label < 2**63:
            raise DataError(f"{file}: row {row}: label {label!r} is neither a whole number nor a name")
        if names is not None and not 0 <= label < len(names):
            raise DataError(f"{file}: row {row}: label {label} is outside the {len(names)} named classes")
    settled_names = None if names is None else settled(names, str(file))
    return _Labels(file=file, labels_N=np.array(labels, np.int64), names=settled_names, listed=names is not None)


def _joined(shards: list[_Labels]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The labels of all shards in one numbering. Lists may differ in order, and one may lack classes of another.

    Raises:
        DataError: a shard has numbers where another has names, or a list has a class that the longest one lacks.
    """
    filled = [shard for shard in shards if len(shard.labels_N) or shard.listed] or shards[:1]
    named = [shard for shard in filled if shard.names is not None]
    unnamed = next((shard for shard in filled if shard.names is None), None)
    if not named:
        return np.concatenate([shard.labels_N for shard in filled]), None
    lists = [shard for shard in named if shard.listed]
    whole = max(lists or named, key=lambda shard: len(shard.names or ()))  # the first of the longest
    known = whole.names or ()
    if unnamed is not None:
        numbers = listed([str(value) for value in np.unique(unnamed.labels_N)])
        raise DataError(
            f"{unnamed.file}: has numbers for classes where {whole.file.name} has names, and nothing says which is "
            f"which; {whole.file.name}: {listed(known)}; {unnamed.file.name}: {numbers}"
        )
    if not lists:
        known = tuple(sorted({name for shard in named for name in shard.names or ()}))
    return np.concatenate([_places(shard, whole.file, known)[shard.labels_N] for shard in named]), known


def _places(shard: _Labels, whole: Path, known: tuple[str, ...]) -> np.ndarray:
    return positions(
        shard.names or (),
        known,
        refusal=lambda name: f"{shard.file}: class '{name}' is not in the list of {whole.name}",
        own=shard.file.name,
        others=whole.name,
    )
