"""Archives, idx and parquet files that are damaged, endless or made to take memory: one line, soon, in little."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_builders import cifar_records, encode, pictures, write_archive, write_idx, write_rows

from ecofed.data import load_dataset
from ecofed.errors import DataError

ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"
NAMES = [f"{FOLDER}/{name}.bin" for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")]


@contextmanager
def bounded() -> Iterator[None]:
    """At most a second of this process's time, and 64 MB."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 64e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 5  # a second where nothing is traced


def refused(folder: Path, words: str) -> None:
    with bounded(), pytest.raises(DataError, match=words) as caught:
        load_dataset(str(folder))
    assert "\n" not in str(caught.value)


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def packed(folder: Path, content: bytes) -> Path:
    (folder / ARCHIVE).write_bytes(gzip.compress(content, 1))
    return folder


def batch() -> bytes:
    return cifar_records(pictures(20), np.arange(20) % 10)


def test_an_archive_with_strange_members_is_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / ARCHIVE, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        folder = tarfile.TarInfo(FOLDER)
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name in ("x" * 150, *NAMES):  # the first needs an extended header
            member = tarfile.TarInfo(name)
            member.size = len(batch())
            member.pax_headers = {"comment": "ü"}
            tar.addfile(member, io.BytesIO(batch()))
    assert len(load_dataset(str(tmp_path)).train) == 100


def test_a_member_that_nobody_wants_may_not_be_endless(tmp_path: Path) -> None:
    refused(
        packed(tmp_path, header("readme.html", 1 << 32) + bytes(40 << 20)), "unpacks to more than 24 times its size"
    )


def test_nor_a_header_that_announces_other_headers(tmp_path: Path) -> None:
    refused(
        packed(tmp_path, header("././@LongLink", 1 << 32, b"L") + b"a" * (40 << 20)), "unpacks to more than 24 times"
    )


def test_nor_may_there_be_many(tmp_path: Path) -> None:
    refused(packed(tmp_path, b"".join(header(f"{number}", 0) for number in range(1500))), "more than 1,000 members")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_SPARSE, tarfile.SYMTYPE, tarfile.LNKTYPE, b"Z"])
def test_a_batch_must_be_a_plain_file(kind: bytes, tmp_path: Path) -> None:
    refused(packed(tmp_path, header(NAMES[0], 0, kind)), "is no plain file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "missing"),
        (b"\x01" * 512, "not a tar archive that can be read"),
        (header(NAMES[0], 3073)[:300], "it ends early"),
        (header(NAMES[0], 3073) + b"\x01" * 100, "ends within .*data_batch_1.bin"),
        (b"".join(header(name, 3072) + bytes(3072) for name in NAMES), "not a multiple of 3,073"),
        (header(NAMES[0], 1 << 30), "more than 50,000 images take"),
        (header(NAMES[0], 0).replace(b"ustar", b"ustxr"), "its checksum is wrong"),
        (header(NAMES[0], 0)[:124] + b"-0000000001\0" + header(NAMES[0], 0)[136:], "its checksum is wrong"),
        (header(NAMES[0], 0)[:124] + b"99999999999\0" + header(NAMES[0], 0)[136:], "invalid literal"),
        (header(NAMES[0], 0) * 2, "is there twice"),
        (header(NAMES[0], 1 << 40), "not a tar archive that can be read"),
    ],
)
def test_a_malformed_archive(content: bytes, words: str, tmp_path: Path) -> None:
    refused(packed(tmp_path, content), words)


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:200] + b"\xff" * 99 + data[299:]]
)
def test_a_damaged_gzip(damage: object, tmp_path: Path) -> None:
    write_archive(tmp_path / ARCHIVE, dict.fromkeys(NAMES, batch()))
    data = (tmp_path / ARCHIVE).read_bytes()
    (tmp_path / ARCHIVE).write_bytes(damage(data))  # type: ignore[operator]
    refused(tmp_path, "cannot be read|not a tar archive")


@pytest.mark.parametrize(
    ("shape", "content", "words"),
    [
        ((1 << 31, 28, 28), b"", "promises 1,683,627,180,032 bytes, more than"),
        ((60_000, 28, 28), bytes(47_040_000), "unpacks to more than 24 times its size"),
        ((2, 28, 28), bytes(2 * 784 + 5_000_000), "but it holds more"),
        ((2, 28, 28), bytes(784), "but it holds 784"),
        ((0xFFFFFFFF, 0, 5), b"", "holds no data"),
    ],
)
def test_an_idx_file_that_is_not_what_it_says(
    shape: tuple[int, ...], content: bytes, words: str, tmp_path: Path
) -> None:
    write_idx(tmp_path, "train", np.zeros((2, 28, 28)), np.zeros(2))
    data = bytes((0, 0, 8, 3)) + struct.pack(">3I", *shape) + content
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(data, 1))
    refused(tmp_path, words)


def test_a_plain_idx_file_takes_no_more_memory_than_it_has_bytes(tmp_path: Path) -> None:
    write_idx(tmp_path, "train", np.zeros((2, 28, 28)), np.zeros(2), packed=False)
    data = bytes((0, 0, 8, 3)) + struct.pack(">3I", 5_000_000, 28, 28)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(data)
    refused(tmp_path, "promises 3,920,000,000 bytes but it holds 0")


def test_one_picture_in_very_many_rows(tmp_path: Path) -> None:
    cell = pa.array([encode(pictures(1)[0])]).dictionary_encode()
    rows = 200_000
    table = pa.table(
        {"img": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), cell.dictionary), "label": [0] * rows}
    )
    pq.write_table(table, tmp_path / "train.parquet", compression="zstd")
    refused(tmp_path, "rows are more than pictures in")


def test_a_large_picture_in_many_rows(tmp_path: Path) -> None:
    large = encode(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8))
    table = pa.table({"img": pa.array([large] * 100).dictionary_encode(), "label": [0] * 100})
    pq.write_table(table, tmp_path / "train.parquet")
    refused(tmp_path, "its pictures are more than 24 times its size|is more than pictures here can be")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"img": [[b"a"]], "label": [0]}, "holds no picture bytes"),
        ({"img": [{"bytes": {"bytes": b"a"}}], "label": [0]}, "holds no picture bytes"),
        ({"img": [None], "label": [0]}, "holds no picture bytes"),
        ({"img": [b"a"], "label": [[0]]}, r"label \[0\] is neither"),
        ({"img": [b"a"], "label": [{"a": 0}]}, "is neither a whole number nor a name"),
        ({"img": [b"a"], "label": [None]}, "label None is neither"),
        ({"img": [b"a"], "label": [1.5]}, "label 1.5 is neither"),
        ({"img": [b"a"], "label": ["x" * 5000]}, r"label .{1,90} is neither a whole number nor a name"),
        ({"\x1b[2J": [b"a"], "label": [0]}, r"no image column.*found \\x1b\[2J, label"),
    ],
)
def test_columns_that_hold_something_else(columns: dict[str, list[object]], words: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    refused(tmp_path, words)


def test_damaged_names_and_lengths(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "good.parquet", [{"bytes": encode(image), "path": None} for image in pictures(4)], [0, 1, 0, 1]
    )
    data = (tmp_path / "good.parquet").read_bytes()
    damaged = [
        data.replace(b"label", b"lab\xff\xfel"),
        data.replace(b"label", b"\xed\xa0\x80el"),
        data[:-4],
        b"PAR1PAR1",
    ]
    damaged += [data[:-8] + struct.pack("<I", length) + b"PAR1" for length in (0, 5, 1 << 30, 0xFFFFFFFF)]
    for content in damaged:
        (tmp_path / "train.parquet").write_bytes(content)
        refused(tmp_path, r"train\.parquet: ")


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([b"a"]), pa.array([0]), pa.array([1])], names=["img", "label", "label"])
    pq.write_table(table, tmp_path / "train.parquet")
    refused(tmp_path, "not a readable parquet file")
