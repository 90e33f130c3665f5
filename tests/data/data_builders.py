"""Tiny data sets in every layout."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def pictures(count: int, side: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random images, uint8 NHWC."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), np.uint8)


def encode(image_HWC: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(
    file: Path,
    images_NHWC: np.ndarray,
    labels: list[Any],
    *,
    kind: str = "PNG",
    columns: tuple[str, str] = ("img", "label"),
) -> None:
    """A file in the hub's layout: an image column of ``{bytes, path}`` structs."""
    write_rows(file, [{"bytes": encode(image, kind), "path": None} for image in images_NHWC], labels, columns=columns)


def write_rows(
    file: Path,
    cells: list[Any],
    labels: list[Any],
    *,
    columns: tuple[str, str] = ("img", "label"),
    metadata: dict[str, str] | None = None,
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({columns[0]: cells, columns[1]: labels})
    pq.write_table(table.replace_schema_metadata(metadata), file, row_group_size=3)


def write_idx(folder: Path, part: str, images_NHW: np.ndarray, labels_N: np.ndarray, *, packed: bool = True) -> None:
    """Images and labels of one split (``train`` or ``t10k``)."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, array in (("images-idx3", images_NHW), ("labels-idx1", labels_N)):
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        content = header + array.astype(np.uint8).tobytes()
        name = f"{part}-{kind}-ubyte"
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(content) if packed else content)


def write_archive(file: Path, members: dict[str, bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def cifar_records(images_NHWC: np.ndarray, *labels_N: np.ndarray) -> bytes:
    """CIFAR's binary records: label bytes, then the planes."""
    planes_ND = images_NHWC.transpose(0, 3, 1, 2).reshape(len(images_NHWC), -1)
    return np.concatenate([*(labels[:, None].astype(np.uint8) for labels in labels_N), planes_ND], axis=1).tobytes()
