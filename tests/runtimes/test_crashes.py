"""A run that is killed continues as if nothing had happened."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chaos import storm
from safetensors.numpy import load_file
from small import outcome, small_config

from ecofed.config.methods import METHODS
from ecofed.config.schema import Config
from ecofed.errors import CheckpointError
from ecofed.results import RoundRecord
from ecofed.runs import experiment
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from ecofed.runs.experiment import run
from ecofed.runs.observing import SilentObserver
from slowly import quick

RUN = """
import json, sys
from ecofed.config.schema import Config
from ecofed.runs.experiment import run
run(Config.from_dict(json.loads(sys.argv[1])), out=sys.argv[2], resume=True, report=False)
"""


def assert_same_weights(folder: Path, other: Path) -> None:
    expected, arrays = load_file(other / "model.safetensors"), load_file(folder / "model.safetensors")
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def killed(config: Config, out: Path, seconds: float, end: signal.Signals = signal.SIGKILL) -> bool:
    """Start or resume a run in a process of its own and end it; ``False`` if it finished first."""
    command = [sys.executable, "-c", RUN, json.dumps(config.to_dict()), str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(end)
            process.wait(60)
            return True
    return False


class KillAfter(SilentObserver):
    """Ends a run at the end of a round, between what is written then."""

    def __init__(self, round_: int) -> None:
        self.round = round_

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        if record.round == self.round:
            raise KeyboardInterrupt


@pytest.mark.ci
@pytest.mark.parametrize("method", quick(METHODS, "ecofed", "classic-fl", "fedgkt"))
def test_interrupted_after_every_round(method: str, pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, method, rounds=4)
    whole = run(config, out=tmp_path / "whole", report=False)
    for round_ in (1, 2, 4):
        with pytest.raises(KeyboardInterrupt):
            run(config, out=tmp_path / "cut", resume=True, observer=KillAfter(round_), report=False)
    resumed = run(config, out=tmp_path / "cut", resume=True, report=False)
    assert outcome(resumed) == outcome(whole)
    if (tmp_path / "whole" / "model.safetensors").exists():  # some methods train no network
        assert_same_weights(tmp_path / "cut", tmp_path / "whole")
    lines = (tmp_path / "cut" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2, 3, 4]
    assert not (tmp_path / "cut" / CHECKPOINT_FILE).exists()


def checkpoint_of(pictures: Path, folder: Path) -> tuple[Config, Path]:
    config = small_config(pictures, "ecofed", rounds=4)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=folder, observer=KillAfter(2), report=False)
    return config, folder / CHECKPOINT_FILE


def test_a_damaged_checkpoint_is_one_clear_line(pictures: Path, tmp_path: Path) -> None:
    config, path = checkpoint_of(pictures, tmp_path)
    whole = path.read_bytes()
    draw = random.Random(0)
    damaged = [whole[: draw.randrange(len(whole))] for _ in range(10)] + [b"", whole + b"\0"]
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        damaged.append(bytes(flipped))
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"damaged .*delete it to start this run again") as caught:
            Checkpoint.read(tmp_path, config.to_dict())
        assert "\n" not in str(caught.value)
    path.write_bytes(whole)
    checkpoint = Checkpoint.read(tmp_path, config.to_dict())
    assert checkpoint is not None
    assert len(checkpoint.records) == 1


def test_a_process_that_died_while_writing_leaves_the_old_checkpoint(pictures: Path, tmp_path: Path) -> None:
    config, path = checkpoint_of(pictures, tmp_path)
    half = tmp_path / f".{CHECKPOINT_FILE}.{'0' * 16}.tmp"
    half.write_bytes(path.read_bytes()[:100])
    assert Checkpoint.read(tmp_path, config.to_dict()) is not None
    assert not half.exists()


def test_a_checkpoint_of_other_settings_is_refused(pictures: Path, tmp_path: Path) -> None:
    config, _ = checkpoint_of(pictures, tmp_path)
    with pytest.raises(CheckpointError, match=r"differs in seed.*choose another --out"):
        run(config.replace(seed=9), out=tmp_path, resume=True)


def test_a_report_that_a_crash_prevented_is_written_by_the_resume(pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, "classic-fl", rounds=1)
    run(config, out=tmp_path, report=False)
    assert not (tmp_path / "report.html").exists()
    run(config, out=tmp_path, resume=True)
    assert (tmp_path / "report.html").exists()


def test_how_often_a_run_is_saved(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    monkeypatch.setattr(Checkpoint, "write", lambda self, _: written.append(len(self.records)))
    config = small_config(pictures, "classic-fl", rounds=4)
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", -1.0)
    run(config, out=tmp_path / "often", report=False)
    assert written == [1, 2, 3]
    written.clear()
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", 1e9)
    monkeypatch.setattr(experiment, "CHECKPOINT_SHARE", 1e9)
    run(config, out=tmp_path / "seldom", report=False)
    assert written == [1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ecofed", "fedgkt"])
def test_kill_9_at_random_moments(method: str, pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, method, rounds=30)
    whole = run(config, out=tmp_path / "whole", report=False)
    draw = random.Random(1)
    for _ in range(5):
        killed(config, tmp_path / "cut", draw.uniform(2.0, 12.0))
    killed(config, tmp_path / "cut", 2.0, signal.SIGINT)
    assert not killed(config, tmp_path / "cut", 600.0)
    resumed = run(config, out=tmp_path / "cut", resume=True, report=False)
    assert outcome(resumed) == outcome(whole)
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.slow
def test_kills_of_servers_and_devices(tmp_path: Path) -> None:
    servers, devices = storm(tmp_path, servers=2, devices=4, rounds=12, seed=0)
    assert servers >= 2 or devices >= 4
