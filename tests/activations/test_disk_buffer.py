"""The replay buffer on disk: the same content as in memory, whole after a crash, and nothing damaged is trained on."""

from __future__ import annotations

import dataclasses
import mmap
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.activations import DiskBuffer, ReplayBuffer, View, configured_buffer
from ecofed.config.methods import EcoFedConfig
from ecofed.errors import CheckpointError, ConfigError, WireError


def view(value: int, samples: int = 5, *, scales: bool = False) -> View:
    draw = np.random.default_rng(value)
    return View(
        rows=draw.integers(0, 256, (samples, 7), dtype=np.uint8),
        scale_N=draw.random(samples, dtype=np.float32) if scales else np.empty(0, np.float32),
        sample_N=draw.permutation(samples),
        labels_N=draw.integers(0, 10, samples),
    )


def on_disk(folder: Path, kept: int | None = None) -> DiskBuffer:
    return DiskBuffer("front", kept, folder, 1 << 20)


def assert_equal_content(one: ReplayBuffer, other: ReplayBuffer) -> None:
    assert one.devices == other.devices
    if not one.devices:
        return
    first, second = one.pool(one.devices), other.pool(other.devices)
    every = np.arange(len(first))
    np.testing.assert_array_equal(first.rows[every], second.rows[every])
    for field in ("scale_N", "sample_N", "labels_N", "device_N"):
        np.testing.assert_array_equal(np.asarray(getattr(first, field)), np.asarray(getattr(second, field)))


uploads = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 6)), max_size=12)


@pytest.mark.ci
@given(uploads, st.none() | st.integers(1, 3), st.booleans())
def test_it_holds_what_the_buffer_in_memory_holds(
    tmp_path_factory: pytest.TempPathFactory, content: list[tuple[int, int, int]], kept: int | None, scales: bool
) -> None:
    folder = tmp_path_factory.mktemp("buffer")
    memory, disk = ReplayBuffer("front", kept), on_disk(folder, kept)
    for device, number, samples in content:
        upload = view(10 * device + number, samples, scales=scales)
        for buffer in (memory, disk):
            buffer.put(device, number, upload, "front")
    assert_equal_content(disk, memory)
    again = on_disk(folder, kept)
    again.load_state(disk.state())
    assert_equal_content(again, memory)
    assert len(again) == len(memory)


def test_rows_are_drawn_in_the_order_asked_for(tmp_path: Path) -> None:
    buffer = on_disk(tmp_path)
    views = [view(number, samples) for number, samples in enumerate((4, 0, 3, 6))]
    for device, upload in enumerate(views):
        buffer.put(device, 0, upload, "front")
    everything = np.concatenate([np.asarray(upload.rows) for upload in views])
    wanted = np.array([12, 0, 3, 4, 4, 7, 11])
    np.testing.assert_array_equal(buffer.pool(buffer.devices).rows[wanted], everything[wanted])
    np.testing.assert_array_equal(buffer.latest(3).rows[np.arange(2)], everything[7:9])


def test_a_checkpoint_of_before_a_replacement_still_opens(tmp_path: Path) -> None:
    buffer, first = on_disk(tmp_path, 1), view(1)
    buffer.put(0, 0, first, "front")
    checkpoint = buffer.state()
    buffer.put(0, 1, view(2), "front")
    buffer.state()  # the checkpoint with this index was never finished
    survivor = on_disk(tmp_path, 1)
    survivor.load_state(checkpoint)
    np.testing.assert_array_equal(survivor.latest(0).rows[np.arange(5)], first.rows)
    survivor.put(0, 1, view(2), "front")
    assert_equal_content(survivor, buffer)


def test_what_no_checkpoint_names_is_removed(tmp_path: Path) -> None:
    buffer = on_disk(tmp_path, 1)
    (tmp_path / ".9-9-00000000.view").write_bytes(b"half an upload")
    for number in range(6):
        buffer.put(0, number, view(number), "front")
        buffer.state()
        assert len(list(tmp_path.iterdir())) == min(2, number + 1) + 1  # and the table of uploads


@pytest.mark.parametrize("uploads", [3, 300])
def test_a_checkpoint_writes_one_new_upload_however_many_there_are(uploads: int, tmp_path: Path) -> None:
    buffer = on_disk(tmp_path)
    for device in range(uploads):
        buffer.put(device, 0, view(device, 2), "front")
    buffer.state()
    before = {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.iterdir()}
    buffer.put(uploads, 0, view(9, 2), "front")
    assert sum(array.nbytes for array in buffer.state().values()) == 2 * 8
    after = {path.name: (path.stat().st_mtime_ns, path.stat().st_size) for path in tmp_path.iterdir()}
    (new,) = after.keys() - before.keys()
    assert new.startswith(f"{uploads}-0-")
    assert [name for name in before if after[name] != before[name]] == ["uploads.table"]
    assert after["uploads.table"][1] - before["uploads.table"][1] == 3 * 8


def test_a_few_files_are_open_however_many_there_are(tmp_path: Path) -> None:
    buffer, count = on_disk(tmp_path), 600
    for device in range(count):
        buffer.put(device, 0, view(device, 2), "front")
    rows = buffer.pool(buffer.devices).rows
    np.testing.assert_array_equal(
        rows[np.arange(1, 2 * count, 2)], np.stack([np.asarray(view(device, 2).rows)[1] for device in range(count)])
    )
    opened = [link.resolve() for link in Path("/proc/self/fd").iterdir()] if Path("/proc/self/fd").is_dir() else []
    assert sum(path.parent == tmp_path for path in opened) <= 256


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, moment: str, buffer: DiskBuffer, device: int) -> Iterator[list[str]]:
    """Another thread reads ``device``'s rows at the first ``moment`` of mapped files; the list has all moments."""
    moments: list[str] = []
    with ThreadPoolExecutor(1) as pool:

        def at(now: str) -> None:
            moments.append(now)
            if moments.count(moment) == 1 and now == moment:
                reading = pool.submit(lambda: buffer.latest(device).rows[np.arange(2)])
                wait([reading], 0.1)  # it has no need to end: it may have to wait for this thread

        class Mapped(mmap.mmap):
            def __new__(cls, *arguments: int, **named: int) -> Mapped:
                at("mapped")
                return super().__new__(cls, *arguments, **named)

            def madvise(self, *arguments: int) -> None:
                at("dropped")
                return super().madvise(*arguments)

        monkeypatch.setattr(mmap, "mmap", Mapped)
        yield moments


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="nothing is dropped on this system")
def test_a_thread_reads_while_another_drops_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = on_disk(tmp_path)
    for device in range(3):
        buffer.put(device, 0, view(device), "front")
    with meanwhile(monkeypatch, "dropped", buffer, device=2) as moments:
        for device in (0, 1, 0):
            np.testing.assert_array_equal(
                buffer.latest(device).rows[np.arange(8) % 5], np.asarray(view(device).rows)[np.arange(8) % 5]
            )
    assert moments == ["mapped", "mapped", "dropped", "dropped", "mapped"]


def test_a_file_that_two_threads_read_is_mapped_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = on_disk(tmp_path)
    buffer.put(0, 0, view(0), "front")
    with meanwhile(monkeypatch, "mapped", buffer, device=0) as moments:
        np.testing.assert_array_equal(buffer.latest(0).rows[np.arange(5)], np.asarray(view(0).rows))
    assert moments == ["mapped"]


def test_a_damaged_table_of_uploads_is_one_clear_line(tmp_path: Path) -> None:
    buffer = on_disk(tmp_path)
    for device in range(3):
        buffer.put(device, 0, view(device), "front")
    state, table = buffer.state(), tmp_path / "uploads.table"
    whole = table.read_bytes()
    for content in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], b""):
        table.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"uploads\.table: damaged .*delete the run's folder"):
            on_disk(tmp_path).load_state(state)
    table.write_bytes(whole + b"what a killed process wrote")
    on_disk(tmp_path).load_state(state)


def test_damage_is_one_clear_line(tmp_path: Path) -> None:
    buffer = on_disk(tmp_path)
    buffer.put(0, 0, view(1, scales=True), "front")
    state, draw = buffer.state(), random.Random(0)
    (path,) = tmp_path.glob("*.view")
    whole = path.read_bytes()
    assert len(whole) == 48 + 5 * (7 + 4 + 8 + 8)
    damaged = [whole[:length] for length in (0, 7, 47, 48, len(whole) - 1)] + [whole + b"\0"]
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"damaged .*delete the run's folder") as caught:
            on_disk(tmp_path).load_state(state)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        on_disk(tmp_path).load_state(state)


def test_another_fronts_activations_are_refused_before_they_are_written(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="of front old"):
        on_disk(tmp_path / "buffer").put(0, 0, view(0), "old")
    assert not (tmp_path / "buffer").exists()


def test_a_buffer_on_disk_needs_a_folder(tmp_path: Path) -> None:
    settings = EcoFedConfig(buffer="disk")
    assert isinstance(configured_buffer(settings, "front", tmp_path), DiskBuffer)
    with pytest.raises(ConfigError, match="choose one with --out"):
        configured_buffer(settings, "front", None)
    with pytest.raises(ConfigError, match="at least 1048576"):
        dataclasses.replace(settings, buffer_bytes=1000)
