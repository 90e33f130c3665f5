"""What a finished run keeps of its devices' uploads."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from again import kept_config

from ecofed.errors import CheckpointError, ConfigError
from ecofed.results import RunResult
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import INDEX_FILE, KEPT_FOLDER, open_buffer
from ecofed.runtimes import InProcessTransport
from stopping import StopAfter


def test_what_is_kept(collected: Path) -> None:
    kept = open_buffer(collected)
    result = json.loads((collected / "result.json").read_text(encoding="utf-8"))
    assert kept.config == kept_config()
    assert kept.buffer.devices == [0, 1, 2, 3]
    assert [kept.label_counts(device).tolist() for device in range(4)] == result["data"]["label_counts"]
    assert kept.origin.classes == result["data"]["classes"]
    assert kept.origin.front_id == result["front"]["id"]
    assert kept.origin.inputs == result["inputs"]
    assert kept.bytes == sum(path.stat().st_size for path in (collected / KEPT_FOLDER).glob("*.view"))
    first_asked: dict[int, int] = {}
    for record in result["rounds"]:
        for device in record["devices"]:
            first_asked.setdefault(device, record["round"])
    assert kept.origin.rounds == {(device, 0): round_ for device, round_ in first_asked.items()}
    sent = sum(count for _, count in kept.origin.sent.values())
    assert sent == sum(result["ledger"][kind]["uplink"] for kind in ("activations", "labels"))


@pytest.mark.usefixtures("often_saved")
@pytest.mark.parametrize("buffer", ["memory", "disk"])
def test_the_same_from_memory_and_from_disk_and_after_a_ctrl_c(buffer: str, collected: Path, tmp_path: Path) -> None:
    config = kept_config(ecofed__buffer=buffer)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "run", observer=StopAfter(3), report=False)
    assert not (tmp_path / "run" / KEPT_FOLDER).exists()
    said = StopAfter()
    run(config, out=tmp_path / "run", resume=True, observer=said, report=False)
    kept = open_buffer(tmp_path / "run")
    assert kept.digest() == open_buffer(collected).digest()
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.is_dir()) == [KEPT_FOLDER]
    assert any("the buffer is kept" in line and "48 samples of 4 devices" in line for line in said.notes)


def test_simulated_devices_are_kept_where_it_is_asked_for_and_a_fleets_unless_it_is_not(tmp_path: Path) -> None:
    def there(name: str, keep: bool | None, *, fleet: bool) -> bool:
        connect = (lambda prepared: InProcessTransport(prepared.worker)) if fleet else None
        run(kept_config(keep_buffer=keep, rounds=1), out=tmp_path / name, report=False, connect=connect)
        return (tmp_path / name / KEPT_FOLDER).exists()

    assert not there("simulated", None, fleet=False)
    assert there("fleet", None, fleet=True)
    assert not there("told", False, fleet=True)


def test_a_new_run_in_its_place_removes_it(copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    result = run(kept_config(keep_buffer=False, rounds=1), out=folder, overwrite=True, report=False)
    assert isinstance(result, RunResult)
    assert not (folder / KEPT_FOLDER).exists()
    with pytest.raises(ConfigError, match=r"keeps no buffer; a run does with --set keep_buffer=true"):
        open_buffer(folder)


def test_whatever_is_damaged_is_said_in_one_line(copied: Callable[[str], Path]) -> None:
    kept = copied("run") / KEPT_FOLDER
    draw = random.Random(0)
    for path in (kept / INDEX_FILE, min(kept.glob("*.view"))):
        whole = path.read_bytes()
        damaged = [b"", whole[: len(whole) // 2], whole + b"\0"]
        for _ in range(20):
            flipped = bytearray(whole)
            flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
            damaged.append(bytes(flipped))
        for content in damaged:
            path.write_bytes(content)
            with pytest.raises(CheckpointError, match=r"damaged .*cannot be made again") as caught:
                open_buffer(kept.parent)
            assert "\n" not in str(caught.value)
        path.write_bytes(whole)
    min(kept.glob("*.view")).unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        open_buffer(kept.parent)


@pytest.mark.parametrize(("length", "reason"), [(0, "it is empty"), (7, "it is cut off"), (30, "it is cut off")])
def test_an_upload_that_is_empty_or_cut_off_is_called_that(
    length: int, reason: str, copied: Callable[[str], Path]
) -> None:
    path = min((copied("run") / KEPT_FOLDER).glob("*.view"))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=rf"\.view: damaged \({reason}\); a kept buffer cannot"):
        open_buffer(path.parent.parent)


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_in_the_place_of_an_upload_is_not_waited_for(copied: Callable[[str], Path]) -> None:
    path = min((copied("run") / KEPT_FOLDER).glob("*.view"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match=r"\.view: damaged \(it is no regular file"):
        open_buffer(path.parent.parent)


def test_rows_are_what_the_devices_sent(collected: Path) -> None:
    kept = open_buffer(collected)
    for device in kept.buffer.devices:
        view = kept.buffer.latest(device)
        assert sorted(view.sample_N) == list(range(12))
        assert np.asarray(view.rows[np.arange(12)]).shape[0] == len(view.labels_N) == 12
