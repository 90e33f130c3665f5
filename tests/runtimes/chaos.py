"""Kill servers and devices at random moments and compare with an undisturbed run: ``make chaos``.

A tiny network on pictures made here, in the processes runtime, all devices needed (quorum 1). The server is killed with
SIGKILL and resumed; devices are killed while it runs. The result must be the same, number for number.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from small import outcome, small_config, write_pictures

from ecofed.config.schema import Config
from ecofed.runs.experiment import run

RUN = """
import json, sys
from ecofed.config.schema import Config
from ecofed.runs.experiment import run
run(Config.from_dict(json.loads(sys.argv[1])), out=sys.argv[2], resume=True, report=False)
"""
#: No run takes this long, however slow the machine: one that does hangs.
HANG_SECONDS = 900.0


def children_of(process: int) -> list[int]:
    """Process ids, from the process table."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def devices_of(server: int) -> list[int]:
    """The device processes of a run: its host's children."""
    return [device for host in children_of(server) for device in children_of(host)]


def start(config: Config, out: Path) -> subprocess.Popen[bytes]:
    """Start or resume a run in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", RUN, json.dumps(config.to_dict()), str(out)])


def chaos(config: Config, out: Path, servers: int, devices: int, draw: random.Random) -> tuple[int, int]:
    """Kill until both counts are reached or the run is finished; returns how many were killed."""
    killed_servers = killed_devices = 0
    end = time.monotonic() + HANG_SECONDS
    while True:
        process = start(config, out)
        life = draw.uniform(3.0, 15.0) if killed_servers < servers else HANG_SECONDS
        born = time.monotonic()
        while process.poll() is None and time.monotonic() - born < life:
            if time.monotonic() > end:
                process.kill()
                process.wait()
                raise SystemExit(f"hang: {out.name} did not end within {HANG_SECONDS:.0f} s")
            time.sleep(draw.uniform(0.05, 0.6))
            alive = devices_of(process.pid)
            if alive and killed_devices < devices:
                try:
                    os.kill(draw.choice(alive), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed_devices += 1
        if process.poll() is None:
            process.kill()
            process.wait()
            killed_servers += 1
        elif process.returncode == 0:
            return killed_servers, killed_devices
        else:
            raise SystemExit(f"a run ended with exit code {process.returncode}")


def compare(config: Config, out: Path, expected: Path) -> None:
    """Raise ``AssertionError`` unless two runs came to the same."""
    assert outcome(run(config, out=out, resume=True, report=False)) == outcome(
        run(config.replace(runtime="in-process"), out=expected, resume=True, report=False)
    )
    arrays, others = load_file(out / "model.safetensors"), load_file(expected / "model.safetensors")
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


def storm(folder: Path, *, servers: int, devices: int, rounds: int, seed: int) -> tuple[int, int]:
    """Runs of ecofed, fedgkt and vanilla-dpfl in turn until so many were killed; prints a line each."""
    pictures = write_pictures(folder / "pictures")
    draw = random.Random(seed)
    killed = [0, 0]
    number = 0
    while killed[0] < servers or killed[1] < devices:
        method = ("ecofed", "fedgkt", "vanilla-dpfl")[number % 3]
        config = small_config(pictures, method, rounds=rounds, runtime="processes", deadline_seconds=600)
        expected, out = folder / f"expected-{method}", folder / f"run-{number}"
        counts = chaos(config, out, min(5, servers - killed[0]), min(5, devices - killed[1]), draw)
        compare(config, out, expected)
        killed = [killed[0] + counts[0], killed[1] + counts[1]]
        print(f"{method}: {counts[0]} servers and {counts[1]} devices killed; the same result", flush=True)
        number += 1
    print(f"{killed[0]} kills of a server and {killed[1]} of devices: every run ended with the identical result")
    return killed[0], killed[1]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=50, help="kills of the server")
    parser.add_argument("--devices", type=int, default=50, help="kills of devices")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        storm(Path(folder), servers=options.servers, devices=options.devices, rounds=options.rounds, seed=options.seed)


if __name__ == "__main__":
    main()
