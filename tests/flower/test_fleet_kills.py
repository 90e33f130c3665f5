"""kill -9 of a ServerApp, of the SuperLink and of a SuperNode, one after the other, in one training over Flower."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

import ecofed
from ecofed.cli.fleet import _same_weights as same_weights
from ecofed.fleet.machine import Fleet, descendants, is_running

pytestmark = pytest.mark.slow

SETTINGS = """
method = "ecofed"
seed = 3
rounds = 8
devices = 2
sampled_devices = 2
batch_size = 10
test_samples = 50
initialisation = "random"
quorum = 1
deadline_seconds = 300
[model]
name = "lenet"
width = 0.25
[data]
name = "digits"
samples_per_device = 40
[ecofed]
refresh = "period"
period = 2
"""
PATIENCE_SECONDS = 240


def rounds_done(out: Path) -> int:
    """Rounds whose line is in ``metrics.jsonl``."""
    file = out / "metrics.jsonl"
    return len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0


def wait_for_round(fleet: Fleet, run: int, out: Path, round_: int) -> None:
    """Until that round is over; the run must still be going on."""
    end = time.monotonic() + PATIENCE_SECONDS
    looked = time.monotonic()
    while rounds_done(out) < round_:
        assert time.monotonic() < end, f"round {round_} did not come"
        if time.monotonic() - looked > 10:
            looked = time.monotonic()
            state = fleet.state(run)
            assert not str(state["status"]).startswith("finished"), state
        time.sleep(0.1)
    assert not (out / "result.json").exists()


def server_app(superlink: int) -> int:
    """The process in which the ServerApp runs."""
    found = [pid for pid in descendants(superlink) if b"flwr-serverapp" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return max(found)


def test_three_kills_change_nothing(tmp_path: Path) -> None:
    settings, out, whole = tmp_path / "settings.toml", tmp_path / "out", tmp_path / "whole"
    settings.write_text(SETTINGS, encoding="utf-8")
    with Fleet(tmp_path / "fleet", devices=2) as fleet:
        for device in range(2):
            fleet.register(fleet.certificates / f"device-{device}.pub")
        nodes = [fleet.add_device(device, retries=1000) for device in range(2)]

        run = fleet.run(settings, out)
        wait_for_round(fleet, run, out, 2)
        os.kill(server_app(fleet.superlink.pid), signal.SIGKILL)
        assert str(fleet.wait(run, PATIENCE_SECONDS)["status"]) == "finished:failed"

        run = fleet.run(settings, out, resume=True)
        wait_for_round(fleet, run, out, 4)
        started = descendants(fleet.superlink.pid)
        fleet.superlink.kill()
        fleet.superlink.wait()
        for pid in filter(is_running, started):  # as systemd does: the ServerApp may go on trying for minutes
            os.kill(pid, signal.SIGKILL)
        fleet.start_superlink()

        run = fleet.run(settings, out, resume=True)
        wait_for_round(fleet, run, out, 6)
        nodes[1].kill()
        nodes[1].wait()
        end = time.monotonic() + PATIENCE_SECONDS
        while not str(fleet.state(run)["status"]).startswith("finished"):
            assert time.monotonic() < end
            if nodes[1].poll() is not None:  # refused until Flower has noticed; the system service tries again, too
                nodes[1] = fleet.add_device(1, retries=1000)
            time.sleep(5)

    config = ecofed.Settings.load(settings).for_method("ecofed")
    expected = ecofed.run(config, out=whole, report=False)
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert result["ledger"] == expected.ledger
    assert any("device 1" in note and "asked again" in note for note in result["rounds"][6]["notes"])
    assert result["totals"]["final_test_accuracy"] == expected.totals.final_test_accuracy
    assert same_weights(out, whole)
