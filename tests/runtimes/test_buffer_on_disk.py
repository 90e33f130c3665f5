"""Runs whose replay buffer is on disk come to what they come to with one in memory, whenever they are killed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from small import outcome, small_config
from test_crashes import KillAfter, assert_same_weights, killed

from ecofed.activations import BUFFER_FOLDER
from ecofed.config.schema import Config
from ecofed.errors import CheckpointError
from ecofed.runs import experiment
from ecofed.runs.checkpoints import CHECKPOINT_FILE
from ecofed.runs.experiment import run


def pair(pictures: Path, rounds: int, **changes: Any) -> tuple[Config, Config]:
    """A configuration with the buffer in memory, and on disk."""
    memory = small_config(pictures, rounds=rounds, ecofed__refresh="period", **changes)
    return memory, memory.replace(ecofed__buffer="disk")


@pytest.mark.parametrize("server", ["pooled", "fedavg"])
def test_the_same_result_as_in_memory_and_nothing_left(server: str, pictures: Path, tmp_path: Path) -> None:
    memory, disk = pair(pictures, 4, ecofed__server=server, ecofed__views=2 if server == "pooled" else 0)
    expected = run(memory, out=tmp_path / "memory", report=False)
    assert outcome(run(disk, out=tmp_path / "disk", report=False)) == outcome(expected)
    assert_same_weights(tmp_path / "disk", tmp_path / "memory")
    assert not (tmp_path / "disk" / BUFFER_FOLDER).exists()


@pytest.mark.ci
def test_interrupted_after_every_round(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", -1.0)
    memory, disk = pair(pictures, 5)
    expected = run(memory, out=tmp_path / "memory", report=False)
    for round_ in (1, 2, 3, 5):
        with pytest.raises(KeyboardInterrupt):
            run(disk, out=tmp_path / "cut", resume=True, observer=KillAfter(round_), report=False)
        assert list((tmp_path / "cut" / BUFFER_FOLDER).glob("*.view"))
    assert outcome(run(disk, out=tmp_path / "cut", resume=True, report=False)) == outcome(expected)
    assert_same_weights(tmp_path / "cut", tmp_path / "memory")


def test_a_damaged_upload_stops_the_resume(pictures: Path, tmp_path: Path) -> None:
    _, disk = pair(pictures, 4)
    with pytest.raises(KeyboardInterrupt):
        run(disk, out=tmp_path, observer=KillAfter(3), report=False)
    assert (tmp_path / CHECKPOINT_FILE).stat().st_size > 0
    for path in (tmp_path / BUFFER_FOLDER).glob("*.view"):
        content = bytearray(path.read_bytes())
        content[60] ^= 1
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        run(disk, out=tmp_path, resume=True, report=False)


@pytest.mark.slow
def test_kill_9_at_random_moments_with_the_buffer_on_disk(pictures: Path, tmp_path: Path) -> None:
    memory, disk = pair(pictures, 30)
    expected = run(memory, out=tmp_path / "memory", report=False)
    draw = random.Random(2)
    for _ in range(6):
        killed(disk, tmp_path / "cut", draw.uniform(2.0, 12.0))
    assert not killed(disk, tmp_path / "cut", 600.0)
    assert outcome(run(disk, out=tmp_path / "cut", resume=True, report=False)) == outcome(expected)
    assert_same_weights(tmp_path / "cut", tmp_path / "memory")
