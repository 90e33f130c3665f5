"""How fast ecofed trains, beside a plain PyTorch loop and other frameworks: ratios within one run.

    python benchmarks/bench.py [--cores 2] [--only PATTERN] [--rows PATTERN] [--with flower,pfl-research] [--json FILE]

Every row of the tables of methods is a process of its own that trains one round when it is asked; they take turns, and
of several turns each the medians count. A ratio is taken in each turn: the row's rate over the plain loop's. There are
two: of processor time, of the process and all that it started; and of time, which means little while others use the
machine. Pictures are random: nothing is learned, and nothing need be fetched.

``--with`` runs frameworks in environments of their own, ``.bench/NAME``; whoever has none is told how to make it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import replay_buffer
import torch
import training_speed
import typer
from torch.profiler import ProfilerActivity, profile

from ecofed.activations import compress, decompress, make_codec
from ecofed.config import Settings
from ecofed.costs.ledger import Ledger
from ecofed.data.given import give_arrays
from ecofed.machine import CORES, cores
from ecofed.methods import METHOD_CLASSES, Channel, Context, Method, sample_devices
from ecofed.models.fronts import build_front
from ecofed.pretraining.shipped import shipped_front
from ecofed.runs.at_once import networks_at_once
from ecofed.runs.environment import describe_environment, git_commit
from ecofed.runs.preparation import prepare
from ecofed.runtimes import InProcessTransport

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".bench"
INSTALLED = {
    "flower": "-c constraints-flower.txt 'flwr[simulation]' torch",
    "pfl-research": "-c constraints.txt pfl==0.6.0 torch",
}
PAPER = {"ecofed.server": "fedavg", "normalisation": "batch", "codec.name": "minmax", "codec.bits": 8}
PAPER |= {"ecofed.refresh": "period", "codec.entropy": "none", "front.precision": "full", "batch_size": 10}
QUICK = {"precision": "bfloat16", "ecofed.server_batch_size": 200}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What takes turns with others."""

    name: str
    kind: str
    """A method of ecofed, or one of ``rivals.py``."""
    sets: Mapping[str, object] = field(default_factory=dict)
    python: str = sys.executable
    batch_size: int = 20
    every_core: bool = False
    """PyTorch has as many threads as there are cores; plain loops always have."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows beside each other; ratios are to the first."""

    title: str
    rows: list[Row]
    width: float
    head_width: int
    devices: int
    """That take part in a round."""
    samples: int
    """Of each."""
    turns: int


def tables(small: bool, others: list[str], core_count: int = 1) -> list[Table]:
    """Of methods."""
    quick = Row(name="ecofed, bfloat16 and batches of 200", kind="ecofed", sets=QUICK)
    quickest = [replace(quick, name=f"{quick.name}, {core_count} threads", every_core=True)] if core_count > 1 else []
    paper = Row(name="ecofed, as in the paper", kind="ecofed", sets=PAPER)
    split = [
        Row(name="plain loop: the back, a copy a device", kind="plain-split", batch_size=10),
        paper,
        Row(name="ecofed", kind="ecofed"),
        quick,
        *quickest,
    ]
    batch = {"normalisation": "batch"}
    whole = [
        Row(name="plain loop: classic-fl", kind="plain-classic"),
        *(Row(name=name, kind=name, sets=batch) for name in ("classic-fl", "vanilla-dpfl", "lgl", "fedgkt")),
        *split[2:],
        *(Row(name=name, kind=name, python=str(ENVIRONMENTS / name / "bin" / "python")) for name in others),
    ]
    if small:
        tiny: dict[str, Any] = {"width": 0.125, "head_width": 32, "devices": 2, "samples": 40, "turns": 1}
        return [Table(title="whole rounds, tiny", rows=[whole[0], quick, *whole[7 + len(quickest) :]], **tiny)]
    half: dict[str, Any] = {"width": 0.5, "head_width": 512, "devices": 4, "samples": 100, "turns": 5}
    full: dict[str, Any] = {"width": 1.0, "head_width": 4096, "devices": 4, "samples": 100, "turns": 5}
    return [
        Table(title="split learning, full width", rows=split, **full),
        Table(title="split learning, half width", rows=split, **half),
        Table(title="whole rounds, half width", rows=whole, **half),
    ]


class Child:
    """A row in its process."""

    def __init__(self, row: Row, table: Table, core_count: int) -> None:
        told: dict[str, Any] = {
            "width": table.width,
            "head_width": table.head_width,
            "batch_size": row.batch_size,
            "devices": table.devices,
            "samples": table.samples,
            "rounds": table.turns + 1,
            "threads": core_count if row.every_core or row.kind.startswith("plain") else 1,
        }
        script = [str(Path(__file__).with_name("rivals.py")), row.kind]
        if row.kind in METHOD_CLASSES:
            script, told = [__file__, "own", row.kind], told | {"sets": dict(row.sets)}
        environment = os.environ | {CORES: str(core_count)}
        self._process = subprocess.Popen(
            [row.python, *script, json.dumps(told)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        self._said()
        self.turn()  # what is done once is done

    def turn(self) -> tuple[float, float]:
        """Samples a second: of processor time, and of time."""
        assert self._process.stdin is not None
        started, before = time.perf_counter(), self._used()[0]
        self._process.stdin.write("next\n")
        self._process.stdin.flush()
        samples = int(self._said())
        return samples / (self._used()[0] - before), samples / (time.perf_counter() - started)

    @property
    def peak_bytes(self) -> int:
        """The most memory that the process and those that it started have had; what they share counts for each."""
        return self._used()[1]

    def end(self) -> None:
        """Without waiting for what it would do."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _said(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("bench "):
                return line.removeprefix("bench ").strip()
        raise RuntimeError(f"ended with {self._process.wait()}: {' '.join(map(str, self._process.args))}")  # type: ignore[arg-type]

    def _used(self) -> tuple[float, int]:
        """Processor seconds and peak bytes of a process and its descendants, from Linux's /proc."""
        seconds, peak, waiting = 0.0, 0, [self._process.pid]
        while waiting:
            place = Path("/proc", str(waiting.pop()))
            try:
                words = (place / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
                status = (place / "status").read_text(encoding="utf-8")
                tasks = [(task / "children").read_text(encoding="ascii") for task in (place / "task").iterdir()]
            except OSError:  # it has ended; its parent has its time
                continue
            seconds += sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
            peak += 1024 * int(status.split("VmHWM:")[1].split()[0]) if "VmHWM:" in status else 0
            waiting += map(int, " ".join(tasks).split())
        return seconds, peak


def measured(table: Table, core_count: int) -> list[dict[str, Any]]:
    """A record for each row."""
    children = {row.name: Child(row, table, core_count) for row in table.rows}
    try:
        turns = [{name: child.turn() for name, child in children.items()} for _ in range(table.turns)]
        peaks = {name: child.peak_bytes for name, child in children.items()}
    finally:
        for child in children.values():
            child.end()
    first = table.rows[0].name
    return [
        {
            "table": table.title,
            "name": name,
            "samples_per_processor_second": median(turn[name][0] for turn in turns),
            "ratio": median(turn[name][0] / turn[first][0] for turn in turns),
            "samples_per_second": median(turn[name][1] for turn in turns),
            "ratio_of_time": median(turn[name][1] / turn[first][1] for turn in turns),
            "peak_bytes": peaks[name],
        }
        for name in children
    ]


def own(kind: str, told: str) -> None:
    """One of our methods, as ``rivals.py`` has the others."""
    import rivals

    method, values = _started(kind, json.loads(told))
    numbers = iter(range(1, values["rounds"] + 1))

    def round_() -> int:
        number = next(numbers)
        method.train_round(number, sample_devices(method.config, number))
        return int(values["devices"] * values["samples"])

    rivals.serve(round_)


def _started(kind: str, values: dict[str, Any]) -> tuple[Method, dict[str, Any]]:
    draw, count = np.random.default_rng(0), values["devices"] * values["samples"]
    pictures = draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % 10
    sets: dict[str, object] = {
        "data.name": give_arrays(pictures, (pictures[0][:10], pictures[1][:10])),
        "devices": values["devices"],
        "sampled_devices": values["devices"],
        "rounds": values["rounds"],
        "batch_size": values["batch_size"],
        "learning_rate": 0.001,
        "threads": values["threads"],
        "model.width": values["width"],
        "model.head_width": values["head_width"],
        "front.name": "random",
        "initialisation": "random",
        "test_samples": 10,
    }
    config = Settings.load(None, [f"{key}={value}" for key, value in (sets | values["sets"]).items()]).for_method(kind)
    made = prepare(config, lambda _: None)
    at_once = networks_at_once(made)
    context = Context(
        task=made.task,
        channel=Channel(InProcessTransport(made.worker, at_once), Ledger(), at_once=at_once),
        model=made.model,
        halves=made.halves,
        bundle=made.bundle,
        early=made.early,
        torch_device=made.torch_device,
        samples=[len(part) for part in made.parts],
    )
    return METHOD_CLASSES[kind](context), values


def server(small: bool, threads: int) -> list[dict[str, Any]]:
    """:mod:`training_speed`."""
    found = training_speed.measured(0.05 if small else 2.0, threads=threads, small=small)
    return [{"name": f"{one.width}: {one.name}", "samples_per_second": one.rate, "ratio": one.ratio} for one in found]


def codecs(small: bool) -> list[dict[str, Any]]:
    """Megabytes of float input a second, both ways, and symbols of the range coder."""
    shape_CHW, count = (64, 8, 8), 20 if small else 500
    h_NCHW = np.maximum(np.random.default_rng(0).normal(size=(count, *shape_CHW)), 0).astype(np.float32)
    megabytes, records = h_NCHW.nbytes / 1e6, []
    for bits in (8, 4, 2):
        codec = make_codec("uniform", bits, shape_CHW, np.full(shape_CHW[0], 3, np.float32))
        rows = codec.encode(h_NCHW, 20).rows
        codes = rows.tobytes()
        data = compress(codes, count, codec, "range")
        symbols = h_NCHW.size / 1e6
        records.append(
            {
                "name": f"uniform, {bits} bits",
                "encode": megabytes / _seconds(lambda codec=codec: codec.encode(h_NCHW, 20)),  # type: ignore[misc]
                "decode": megabytes / _seconds(lambda codec=codec, rows=rows: codec.decode(rows, None)),  # type: ignore[misc]
                "range_encode": symbols / _seconds(lambda a=(codes, count, codec): compress(*a, "range")),  # type: ignore[misc]
                "range_decode": symbols / _seconds(lambda a=(data, count, codec): decompress(*a, "range")),  # type: ignore[misc]
            }
        )
    return records


def _seconds(work: Callable[[], object]) -> float:
    """Processor time: the median of five."""
    times = []
    for _ in range(5):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return median(times)


def buffer_reads(small: bool) -> list[dict[str, Any]]:
    """Rows of 256 bytes a second, in batches of 20 drawn from everything."""
    samples, batches = (2_000, 20) if small else (200_000, 2_000)
    records = []
    for kind in ("memory", "disk"):
        found = replay_buffer.measure(kind, samples, 256, 16 << 20, batches)
        records.append({"name": kind, "rows_per_second": batches * replay_buffer.BATCH / found["draw"]})
    return records


@torch.no_grad()
def front_batches(small: bool) -> list[dict[str, Any]]:
    """Images a second through the front of half-width VGG11, in batches of several sizes."""
    bundle = shipped_front("vgg11-w0.5-rgb").load()
    front = build_front(bundle, bundle.normalisation)
    x_NCHW = torch.rand(100 if small else 500, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    front(x_NCHW[:20])
    return [
        {
            "name": f"batches of {size}",
            "images_per_second": len(x_NCHW)
            / _seconds(lambda size=size: [front(x_BCHW) for x_BCHW in x_NCHW.split(size)]),  # type: ignore[misc]
        }
        for size in (20, 50, 100, 250, 500)
    ]


def where_time_goes(table: Table) -> list[dict[str, Any]]:
    """Shares of the time of a round, by what PyTorch calls it."""
    records, rows = [], (("classic-fl", "classic-fl", {}), ("ecofed", "ecofed, bfloat16 and batches of 200", QUICK))
    os.environ[CORES] = "1"  # a profile is one thread's
    for kind, name, sets in rows:
        told = {
            "width": table.width,
            "head_width": table.head_width,
            "batch_size": 20,
            "rounds": 3,
            "threads": 1,
            "sets": sets,
        }
        told |= {"devices": table.devices, "samples": table.samples, "rounds": 3, "threads": 1}
        method, _ = _started(kind, told)
        method.train_round(1, range(table.devices))
        with profile(activities=[ProfilerActivity.CPU]) as found:
            started = time.perf_counter()
            method.train_round(2, range(table.devices))
            whole = time.perf_counter() - started
        events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
        shares = {event.key: event.self_cpu_time_total / 1e6 / whole for event in events[:6]}
        records.append({"name": name} | shares)
    return records


def main(
    core_count: Annotated[int, typer.Option("--cores", help="Processor cores for each row.")] = 1,
    with_: Annotated[str, typer.Option("--with", help="flower, pfl-research, or both with a comma.")] = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write all figures.")] = None,
    only: Annotated[str, typer.Option(help="Tables and parts that match: split, whole, server, codecs, ...")] = "",
    row_names: Annotated[str, typer.Option("--rows", help="Rows of tables of methods, beside the first.")] = "",
    small: Annotated[bool, typer.Option(help="Seconds instead of minutes: whether it runs, not how fast.")] = False,
) -> None:
    """Print the tables."""
    others = [name for name in with_.split(",") if name]
    for name in others:
        if not (ENVIRONMENTS / name).exists():
            place, packages = f"{ENVIRONMENTS.name}/{name}", INSTALLED.get(name, name)
            make = f"python3 -m venv {place} && {place}/bin/pip install {packages}"
            raise SystemExit(f"{name}: needs an environment of its own: {make}")
    torch.set_num_threads(1)
    environment = describe_environment(core_count, "cpu")
    figures: dict[str, Any] = {"schema": "ecofed-bench/1", "commit": git_commit(), "environment": environment}
    where = f"{environment['processor']}, {core_count} of {cores()} cores, {platform.system()}"
    print(f"{where}, PyTorch {torch.__version__}, commit {figures['commit']}")
    made = tables(small, others, core_count)
    for table in made:
        if not re.search(only, table.title):
            continue
        print(f"\n{table.title}: rounds of {table.devices} devices with {table.samples} samples")
        print(f"{'':<40} samples/s of processor time            samples/s          peak memory")
        rows = [row for row in table.rows if row is table.rows[0] or re.search(row_names, row.name)]
        records = measured(replace(table, rows=rows), core_count)
        figures["methods"] = [*figures.get("methods", []), *records]
        for one in records:
            print(
                f"{one['name']:<40} {one['samples_per_processor_second']:12.0f}  {one['ratio']:5.2f}x"
                f" {one['samples_per_second']:20.0f}  {one['ratio_of_time']:5.2f}x {one['peak_bytes'] / 1e6:14.0f} MB",
                flush=True,
            )
    parts: dict[str, tuple[str, Callable[[], list[dict[str, Any]]]]] = {
        "server": (
            "the server's training alone: samples/s of processor time (of time with several cores), ratio",
            lambda: server(small, core_count),
        ),
        "codecs": (
            "codecs: MB/s of float32 both ways; range coder: million symbols/s both ways",
            lambda: codecs(small),
        ),
        "front": ("images a second of processor time through a front", lambda: front_batches(small)),
        "buffer": ("random rows of the replay buffer a second", lambda: buffer_reads(small)),
        "profile": ("shares of the time of a round", lambda: where_time_goes(made[-1])),
    }
    for part, (title, measure) in parts.items():
        if re.search(only, part):
            print(f"\n{title}")
            figures[part] = measure()
            for one in figures[part]:
                values = {key: value for key, value in one.items() if key != "name"}
                print(
                    f"{one['name']:<40} " + "  ".join(f"{key} {value:,.2f}" for key, value in values.items()),
                    flush=True,
                )
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["own"]:
        own(*sys.argv[2:4])
    else:
        typer.run(main)
