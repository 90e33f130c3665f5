"""Parquet files as the Hugging Face hub serves them: a column of encoded pictures and a column of labels.

Needs pyarrow (``ecofed[train]``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ecofed.data.images import Split, decode
from ecofed.errors import DataError, MissingExtraError

MAX_ROWS = 5_000_000
MAX_ROW_GROUP_BYTES = 2 << 30

_IMAGE_COLUMNS = ("img", "image", "images", "picture")
# CIFAR-100 has both fine and coarse labels; the fine ones are the task.
_LABEL_COLUMNS = ("fine_label", "label", "labels", "class", "target")


def find(path: Path) -> list[Path]:
    """The parquet files of a folder (or of its direct sub-folders, as in a clone from the hub), or the file itself."""
    if path.is_file():
        return [path] if path.suffix == ".parquet" else []
    return _shards(path, "train") + _shards(path, "test")


def read(path: Path, part: Literal["train", "test"]) -> Split | None:
    """One split; a single file is a training split."""
    files = _shards(path, part) if path.is_dir() else [path] if part == "train" else []
    if not files:
        return None
    labels: list[Any] = []
    opened = [_open(file) for file in files]
    decoded = decode(cell for shard in opened for cell in _rows(shard, labels))
    labels_N, label_names = _numbered(labels, opened[0].class_names, files[0])
    return Split(
        images_NHWC=decoded.images_NHWC,
        labels_N=labels_N,
        label_names=label_names,
        compressed_as=decoded.compressed_as,
        compressed_bytes_N=decoded.compressed_bytes_N,
        shared_header_bytes=decoded.shared_header_bytes,
    )


def _shards(folder: Path, part: str) -> list[Path]:
    for pattern in (f"{part}.parquet", f"{part}-*-of-*.parquet", f"*/{part}.parquet", f"*/{part}-*-of-*.parquet"):
        found = sorted(file for file in folder.glob(pattern) if file.is_file())
        if len({file.parent for file in found}) > 1:
            parents = ", ".join(sorted({file.parent.name for file in found}))
            raise DataError(f"{folder}: several data sets in one place ({parents}); name the folder of one of them")
        if found:
            return found
    return []


@dataclass(frozen=True, kw_only=True)
class _Shard:
    file: Path
    table: Any
    """A ``pyarrow.parquet.ParquetFile``."""
    image: str
    label: str
    class_names: tuple[str, ...] | None


def _open(file: Path) -> _Shard:
    """Read a file's schema; nothing else yet."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train", f"reading {file.name}") from error
    with _readable(file):
        table = pq.ParquetFile(file)
        schema = table.schema_arrow
        label = _column(file, schema.names, _LABEL_COLUMNS, "label")
        image = _column(file, schema.names, _IMAGE_COLUMNS, "image")
        if table.metadata.num_rows > MAX_ROWS:
            raise DataError(f"{file}: {table.metadata.num_rows:,} rows are more than {MAX_ROWS:,}")
    names = _class_names(schema.metadata or {}, label)
    return _Shard(file=file, table=table, image=image, label=label, class_names=names)


def _rows(shard: _Shard, labels: list[Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of one file, with where they are, and append its labels."""
    file, row = shard.file, 0
    for group in range(shard.table.num_row_groups):
        with _readable(file):
            if shard.table.metadata.row_group(group).total_byte_size > MAX_ROW_GROUP_BYTES:
                raise DataError(f"{file}: row group {group} is larger than {MAX_ROW_GROUP_BYTES >> 30} GiB")
            content = shard.table.read_row_group(group, columns=[shard.image, shard.label])
        labels += content[shard.label].to_pylist()
        for cell in content[shard.image].to_pylist():
            data = cell.get("bytes") if isinstance(cell, dict) else cell
            if not isinstance(data, bytes):
                raise DataError(f"{file}: row {row}: column '{shard.image}' holds no picture bytes")
            yield f"{file}: row {row}", data
            row += 1


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """pyarrow's errors as one of ours."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not a readable parquet file ({str(error).splitlines()[0][:120]})") from error


def _column(file: Path, present: list[str], wanted: tuple[str, ...], kind: str) -> str:
    for name in wanted:
        if name in present:
            return name
    raise DataError(f"{file}: no {kind} column; expected one of {', '.join(wanted)}, found {', '.join(present)}")


def _class_names(metadata: dict[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Class names that the hub keeps in the schema's metadata, where there are any."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _numbered(
    labels: list[Any], names: tuple[str, ...] | None, file: Path
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    if labels and all(isinstance(label, str) for label in labels):
        names = tuple(sorted(set(labels)))
        position = {name: index for index, name in enumerate(names)}
        return np.array([position[label] for label in labels], np.int64), names
    for row, label in enumerate(labels):
        if not isinstance(label, int) or not -(2**63) <= label < 2**63:
            raise DataError(f"{file}: row {row}: label {label!r} is neither a whole number nor a name")
        if names is not None and not 0 <= label < len(names):
            raise DataError(f"{file}: row {row}: label {label} is outside the {len(names)} named classes")
    return np.array(labels, np.int64), names
