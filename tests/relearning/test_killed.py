"""Killed whenever something is about to change on the disk, whoever learns again goes on to the same result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from ecofed.errors import CheckpointError, ConfigError
from ecofed.relearning import tuning
from ecofed.relearning.deletion import delete
from ecofed.relearning.retraining import retrain
from ecofed.relearning.tuning import tune
from ecofed.relearning.updating import update
from ecofed.runs.kept_buffer import holds_buffer, open_buffer
from killing import Killed, killed_at
from slowly import quick
from stopping import StopAfter

#: Every how many changes of the disk one case is killed.
CASES = 16
NEW = {"data__samples_per_device": 14, "sampled_devices": 4, "rounds": 2}

Command = Callable[..., Any]
COMMANDS: dict[str, Command] = {
    "retrain": lambda source, out, **own: retrain(source, out=out, rounds=2, report=False, **own),
    "update": lambda source, out, **own: update(source, out=out, **NEW, report=False, **own),
    "update on disk": lambda source, out, **own: update(
        source, out=out, **NEW, ecofed__buffer="disk", report=False, **own
    ),
}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def outcome(folder: Path) -> dict[str, Any]:
    """What a folder holds in the end, but for how long it took, and fronts that devices that began anew were sent."""
    result = json.loads((folder / "result.json").read_text("utf-8"))
    for part in (result["totals"], *result["rounds"]):
        for name in ("wall_seconds", "device_seconds", "server_seconds"):
            part.pop(name, None)
    for name in ("retransmitted_bytes", "notes"):
        result.pop(name)
    arrays = load_file(folder / "model.safetensors")
    kept = open_buffer(folder) if holds_buffer(folder) else None
    return {
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
        "result": result,
        "network": {name: (array.shape, array.tobytes()) for name, array in arrays.items()},
        "buffer": kept and (kept.digest(), kept.origin.rounds, kept.origin.sent, kept.origin.forgotten),
    }


@pytest.mark.ci
@pytest.mark.usefixtures("often_saved")
@pytest.mark.parametrize("case", quick(range(CASES), 3))
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_any_moment_it_goes_on_to_the_same(
    name: str, case: int, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, source = COMMANDS[name], content(collected)
    with killed_at(10_000, monkeypatch) as done:
        command(collected, tmp_path / "whole")
    whole = outcome(tmp_path / "whole")
    assert len(done) > 2 * CASES - 2
    for step in range(case, len(done), CASES):
        folder = tmp_path / f"killed-{step}"
        with killed_at(step, monkeypatch), pytest.raises(Killed):
            command(collected, folder)
        command(collected, folder, resume=True)
        assert outcome(folder) == whole, step
        shutil.rmtree(folder)
    assert content(collected) == source


@pytest.mark.slow
def test_a_search_that_is_killed_is_the_same_search(
    collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_carry_out", lambda task: (task[1], task[2].get("learning_rate", 0.01)))
    options: dict[str, Any] = {"trials": 6, "workers": 1}
    with killed_at(10_000, monkeypatch) as done:
        whole = tune(collected, out=tmp_path / "whole", **options)
    assert len(done) > 12
    for step in range(len(done)):
        folder = tmp_path / f"killed-{step}"
        with killed_at(step, monkeypatch), pytest.raises(Killed):
            tune(collected, out=folder, **options)
        assert tune(collected, out=folder, resume=True, **options) == whole, step
        assert content(folder) == content(tmp_path / "whole"), step


@pytest.mark.usefixtures("often_saved")
@pytest.mark.parametrize("name", ["retrain", "update on disk"])
def test_what_was_stopped_before_a_device_was_forgotten_never_goes_on(
    name: str, copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, folder = COMMANDS[name], copied("run")
    with pytest.raises(KeyboardInterrupt):
        command(folder, tmp_path / "stopped", observer=StopAfter(1))
    with killed_at(10_000, monkeypatch) as done:
        delete(copied("whole"), {2: []})
    with killed_at(len(done) // 2, monkeypatch), pytest.raises(Killed):
        delete(folder, {2: []})
    with pytest.raises(ConfigError, match="a deletion was interrupted; 'ecofed forget"):
        command(folder, tmp_path / "stopped", resume=True)
    delete(folder, {2: []})
    with pytest.raises(ConfigError, match=r"stopped: what its run read has changed since: kept buffer \("):
        command(folder, tmp_path / "stopped", resume=True)
    command(folder, tmp_path / "anew")
    if holds_buffer(tmp_path / "anew"):
        assert open_buffer(tmp_path / "anew").buffer.devices == [0, 1, 3]


def test_a_search_among_uploads_that_were_deleted_never_goes_on(
    copied: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "_carry_out", lambda task: (task[1], 0.5))
    folder = copied("run")
    tune(folder, out=tmp_path / "search", trials=2, workers=1)
    delete(folder, {2: []})
    with pytest.raises(CheckpointError, match=r"holds a search with other settings \(buffer was"):
        tune(folder, out=tmp_path / "search", trials=4, workers=1, resume=True)
