"""A fleet by the words of its own services, as ``ecofed fleet init`` writes them: it trains."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecofed.fleet.folder import Plan, make_fleet
from ecofed.fleet.machine import free_ports, stop, wait_for_port

pytestmark = pytest.mark.slow

SETS = (
    "data.name=digits data.samples_per_device=40 model.name=lenet model.width=0.25 front.name=random "
    "initialisation=random devices=2 sampled_devices=2 rounds=2 batch_size=10 test_samples=50"
)


def test_a_fleet_trains_that_runs_by_its_services(tmp_path: Path) -> None:
    port, *own_ports = free_ports(3)
    make_fleet(tmp_path / "fleet", Plan(hosts=("localhost",), devices=2, port=port))
    state, programs = tmp_path / "var", Path(sys.executable).parent
    (state / "flwr").mkdir(parents=True)
    config = (tmp_path / "fleet/server/flwr-config.toml").read_text(encoding="utf-8")
    places = {
        "/opt/ecofed/bin": str(programs),
        "/etc/ecofed": str(tmp_path / "fleet" / "certificates"),
        "/var/lib/ecofed": str(state),
    }
    surroundings = os.environ | {
        "FLWR_HOME": str(state / "flwr"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }

    def here(text: str) -> str:
        for place, ours in places.items():
            text = text.replace(place, ours)
        return text

    def start(unit: str, *more: str) -> subprocess.Popen[bytes]:
        lines = (tmp_path / "fleet" / unit).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        command = next(line for line in lines if line.startswith("ExecStart=")).removeprefix("ExecStart=")
        with (tmp_path / f"{Path(unit).stem}.log").open("wb") as log:
            return subprocess.Popen(
                [*shlex.split(here(command)), *more],
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def flwr(*words: str) -> str:
        command = [str(programs / "flwr"), *words]
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    (state / "flwr" / "config.toml").write_text(here(config), encoding="utf-8")
    running = [start("server/ecofed-superlink.service")]
    try:
        wait_for_port(port, running[0])
        for device, own_port in enumerate(own_ports):
            flwr("supernode", "register", str(tmp_path / f"fleet/certificates/device-{device}.pub"), "fleet")
            # Two of them on one machine: each with a port, and its share of the run's images.
            more = ("--port", str(own_port), "--node-config", f"device={device}")
            running.append(start(f"devices/device-{device}.service", *more))
        words = f'set="{SETS}" out="{state / "first"}"'
        flwr("run", str(tmp_path / "fleet/app"), "fleet", "--run-config", words)
        end, result = time.monotonic() + 180, state / "first" / "result.json"
        while not result.exists() and time.monotonic() < end:
            time.sleep(1)
        logs = "\n".join(file.read_text(errors="replace")[-2000:] for file in tmp_path.glob("*.log"))
        assert result.exists(), logs
        rounds = json.loads(result.read_text(encoding="utf-8"))["rounds"]
        assert [line["notes"] for line in rounds] == [[], []]
        assert [line["trained"] for line in rounds] == [True, True]

        told = flwr("run", str(tmp_path / "fleet/app"), "fleet", "--run-config", 'set="rounds=-1"', "--format", "json")
        number = str(json.loads(told[told.index("{") :])["run-id"])
        why = "rounds = -1: "
        while not (state_of := flwr("ls", "--run-id", number, "fleet", "--format", "json")).count("finished:"):
            assert time.monotonic() < end + 60
            time.sleep(1)
        assert '"finished:failed"' in state_of
        assert why in state_of
        assert f"error: {why}" in flwr("log", number, "fleet", "--show")
    finally:
        stop(running)
