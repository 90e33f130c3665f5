"""How many SuperNodes one machine carries over Flower: seconds a refresh, processor time, memory of the server.

    python benchmarks/flower_capacity.py run 4 8 16 32 64 128     fleets of so many, into docs/results/capacity.json
    python benchmarks/flower_capacity.py write                    the table of docs/results-capacity.md

Needs ``ecofed[flower,train,device,digits]``. A SuperLink and the SuperNodes with TLS and authentication, on the
loopback interface only; tiny devices (half of a LeNet in ONNX Runtime, ten digits each) that upload anew in every
round. The first refresh brings the front, too, and
is not counted. Seconds are by the clock of a machine that carries server and devices; processor seconds stand beside
them, because real devices have processors of their own. A size is given up when its time is over or when less memory is
free than ``--keep-free``: it is recorded why.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from ecofed.fleet.machine import Fleet, descendants

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "results" / "capacity.json"
PAGE = ROOT / "docs" / "results-capacity.md"
START, END = "<!-- table -->\n", "<!-- end -->"
SETTINGS = """
method = "ecofed"
rounds = {rounds}
devices = {devices}
sampled_devices = {devices}
batch_size = 20
test_samples = 100
initialisation = "random"
[model]
name = "lenet"
width = 0.5
[data]
name = "digits"
partition = "iid"
samples_per_device = 10
[ecofed]
refresh = "period"
period = 1
"""
TICKS = os.sysconf("SC_CLK_TCK")
#: Started: all together use less than this share of a core for so long.
_QUIET_SECONDS, _QUIET_SHARE = 2.0, 0.5
_START_SECONDS = 60.0
#: SuperNodes that are started at the same time.
TOGETHER = 8
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


class GivenUpError(Exception):
    """A size that this machine did not carry, and why."""


class Watch:
    """A fleet's processes: their processor time, and the most memory that they have had."""

    def __init__(
        self, fleet: Fleet, start: Callable[[int], subprocess.Popen[bytes]], end: float, keep_free: float
    ) -> None:
        self._server, self._start, self._devices = fleet.superlink, start, list[subprocess.Popen[bytes]]()
        self._end, self._keep_free = end, keep_free
        self.superlink_mb = self.server_mb = self.devices_mb = 0.0
        self.restarts = 0
        """SuperNodes that gave up while the SuperLink let them wait, and were started again."""

    def add_device(self) -> None:
        """Start the next one; after some, wait until they have started."""
        self._devices.append(self._start(len(self._devices)))
        self.look()
        if len(self._devices) % TOGETHER == 0:
            self.wait_for_quiet()

    @property
    def devices(self) -> int:
        return len(self._devices)

    def look(self) -> None:
        """Measure; raise :class:`GivenUpError` where the machine or the time is full."""
        below = list(descendants(self._server.pid))
        self.superlink_mb = max(self.superlink_mb, _memory_mb(self._server.pid))
        self.server_mb = max(self.server_mb, sum(map(_memory_mb, [self._server.pid, *below])))
        free = _meminfo("MemAvailable")
        if free < self._keep_free:
            raise GivenUpError(f"memory: {free / 1000:.1f} GB were left of {_meminfo('MemTotal') / 1000:.0f}")
        if time.monotonic() > self._end:
            raise GivenUpError("time")
        for number, process in enumerate(self._devices):
            if process.poll() is not None:  # as the service of a device does
                self.restarts += 1
                self._devices[number] = self._start(number)

    def wait_for_quiet(self) -> None:
        """Until the SuperNodes have started: a SuperLink that is kept waiting refuses some, and a ``flwr run``."""
        before, end = -math.inf, time.monotonic() + _START_SECONDS
        # So many may be there that they are never quiet.
        while sum(self.processor_seconds()) - before > _QUIET_SECONDS * _QUIET_SHARE and time.monotonic() < end:
            before = sum(self.processor_seconds())
            time.sleep(_QUIET_SECONDS)
            self.look()

    def idle_device_mb(self) -> float:
        """Memory of a SuperNode that has nothing to do, shared pages divided among those that share them."""
        several = self._devices[:8]
        return sum(_memory_mb(process.pid) for process in several) / len(several)

    def processor_seconds(self) -> tuple[float, float]:
        """Of the server and of the devices, with their processes that have ended and were waited for."""
        server = [self._server.pid, *descendants(self._server.pid)]
        devices = [pid for process in self._devices for pid in (process.pid, *descendants(process.pid))]
        return sum(map(_processor_seconds, server)), sum(map(_processor_seconds, devices))


def measure(devices: int, at_once: int, rounds_wanted: int, minutes: float, keep_free: float) -> dict[str, Any]:
    """One fleet, started and ended here."""
    begun = time.monotonic()
    record: dict[str, Any] = {"devices": devices, "at_once": at_once, "stopped": None, "threads": os.cpu_count()}
    with tempfile.TemporaryDirectory() as place, Fleet(Path(place), devices) as fleet:

        def start(number: int) -> subprocess.Popen[bytes]:
            return fleet.add_device(number, config='worker="onnx"', retries=20)

        watch = Watch(fleet, start, begun + 60 * minutes, keep_free)
        out = Path(place) / "out"
        try:
            started = time.monotonic()
            fleet.register(*(fleet.certificates / f"device-{number}.pub" for number in range(devices)))
            record["register_seconds"] = time.monotonic() - started
            for _ in range(devices):
                watch.add_device()
            watch.wait_for_quiet()
            record["start_seconds"] = time.monotonic() - started
            settings = Path(place) / "settings.toml"
            settings.write_text(SETTINGS.format(rounds=rounds_wanted, devices=devices), encoding="utf-8")
            started = time.monotonic()
            run = fleet.run(settings, out, at_once=at_once)
            rounds = [(time.monotonic(), *watch.processor_seconds())]
            while len(rounds) <= rounds_wanted:
                time.sleep(0.5)
                watch.look()
                lines = (out / "metrics.jsonl").read_text().splitlines() if (out / "metrics.jsonl").exists() else []
                if len(lines) >= len(rounds):
                    rounds.append((time.monotonic(), *watch.processor_seconds()))
                    record[f"round_{len(rounds) - 1}_seconds"] = rounds[-1][0] - rounds[-2][0]
            record["connected_and_first_refresh_seconds"] = rounds[1][0] - started
            record["refresh_seconds"] = (rounds[-1][0] - rounds[1][0]) / (rounds_wanted - 1)
            record["server_processor_seconds"] = (rounds[-1][1] - rounds[1][1]) / (rounds_wanted - 1)
            record["device_processor_seconds"] = (rounds[-1][2] - rounds[1][2]) / (rounds_wanted - 1) / devices
            record["idle_device_mb"] = watch.idle_device_mb()
            line = json.loads(lines[-1])
            record["bytes_a_device"] = (line["uplink_bytes"] + line["downlink_bytes"]) / devices
            record["notes"] = sum(len(json.loads(line)["notes"]) for line in lines)
            end = time.monotonic() + 120
            while str(fleet.state(run)["status"]).split(":")[0] != "finished" and time.monotonic() < end:
                time.sleep(2)
        except GivenUpError as reason:
            record["stopped"] = f"{reason} ({watch.devices} SuperNodes had been started)"
        record |= {
            "restarts": watch.restarts,
            "superlink_mb": watch.superlink_mb,
            "server_mb": watch.server_mb,
            "seconds": time.monotonic() - begun,
        }
    return record


def _memory_mb(pid: int) -> float:
    """Proportional set size in megabytes of 10^6 bytes; 0 for a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def _meminfo(name: str) -> float:
    """Megabytes of 10^6 bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024 / 1e6


@app.command()
def run(
    sizes: Annotated[list[int], typer.Argument(help="SuperNodes, one fleet after the other.")],
    at_once: Annotated[int, typer.Option(help="Messages out at a time; 0: all.")] = 8,
    rounds: Annotated[int, typer.Option(help="The first is not counted.", min=2)] = 3,
    minutes: Annotated[float, typer.Option(help="For each size.")] = 20,
    keep_free: Annotated[float, typer.Option(help="Megabytes that must stay free.")] = 4000,
) -> None:
    """Measure sizes; what is recorded of a size is replaced."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for size in sizes:
        record = measure(size, at_once, rounds, minutes, keep_free)
        record |= {"flower": metadata.version("flwr"), "commit": commit.stdout.strip()}
        print(json.dumps(record), flush=True)
        kept = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else []
        same = ("devices", "at_once", "flower")
        kept = [one for one in kept if any(one[key] != record[key] for key in same)] + [record]
        kept.sort(key=lambda one: (one["flower"], one["devices"], one["at_once"]))
        RECORDS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def table(records: list[dict[str, Any]]) -> str:
    """Markdown: a line a size."""
    head = (
        "| SuperNodes | at once | seconds a refresh | processor seconds of the server, a refresh "
        "| of a device, a visit | SuperLink | server in all | an idle SuperNode | Flower |\n"
        "|--:|--:|--:|--:|--:|--:|--:|--:|---|"
    )
    lines = [head]
    for one in records:
        if one["stopped"]:
            cells = [f"stopped: {one['stopped']}", *[""] * 2]
        else:
            keys = ("refresh_seconds", "server_processor_seconds", "device_processor_seconds")
            cells = [f"{one[key]:.1f}" for key in keys]
        memory = [f"{one[key]:.0f} MB" for key in ("superlink_mb", "server_mb")]
        memory += [f"{one['idle_device_mb']:.0f} MB" if "idle_device_mb" in one else ""]
        at_once = str(one["at_once"] or "all")
        lines.append(f"| {' | '.join([str(one['devices']), at_once, *cells, *memory, one['flower']])} |")
    return "\n".join(lines)


@app.command()
def write() -> None:
    """Put the table into its page."""
    records = json.loads(RECORDS.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    PAGE.write_text(f"{before}{START}{table(records)}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(app())
