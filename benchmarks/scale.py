"""A hundred thousand devices and five million buffered samples: start, rounds, checkpoints, a kill in mid-round.

    python benchmarks/scale.py --out runs/scale

Each part runs in a process of its own and is measured in processor time. A buffer on disk is filled with random codes,
as if every device had uploaded before; then runs go on from the checkpoint, with 20 devices a round that upload anew.
The same is done with 100 devices. Pictures are windows over one string of random bytes, so that they take no memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.activations import BUFFER_FOLDER, View
from ecofed.config import Config, Settings
from ecofed.config.task import upload_order
from ecofed.data.dataset import Dataset, ImageSet
from ecofed.data.given import give_dataset
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.loop import train
from ecofed.reports.unfinished import write_unfinished
from ecofed.results import RoundRecord
from ecofed.runs.checkpoints import CHECKPOINT_FILE
from ecofed.runs.environment import git_commit
from ecofed.runs.experiment import run
from ecofed.runs.going import start
from ecofed.runs.judging import Judges
from ecofed.runs.observing import SilentObserver
from ecofed.runs.preparation import prepare
from ecofed.runs.run_folder import begun, write_metrics
from ecofed.runtimes import InProcessTransport

SIDE, CLASSES, TEST_IMAGES = 28, 10, 1000


def dataset(samples: int) -> str:
    """Give a data set of so many pictures; returns its name."""
    draw = np.random.default_rng(0)

    def pictures(count: int) -> ImageSet:
        content = draw.integers(0, 256, count - 1 + SIDE * SIDE, dtype=np.uint8)
        windows_NP = np.lib.stride_tricks.sliding_window_view(content, SIDE * SIDE)
        return ImageSet(windows_NP.reshape(count, SIDE, SIDE, 1), draw.integers(0, CLASSES, count))

    return give_dataset(
        Dataset(
            name="windows",
            title="windows over random bytes",
            train=pictures(samples),
            test=pictures(TEST_IMAGES),
            classes=tuple(map(str, range(CLASSES))),
            mean=(0.5,),
            std=(0.5,),
            flip=False,
            place="memory",
            compressed_as="PNG",
            compressed_bytes_N=np.full(samples, SIDE * SIDE),
            shared_header_bytes=33,
        )
    )


def configuration(devices: int, samples: int, rounds: int) -> Config:
    """Quarter-width VGG11 for grey pictures, 256 bytes a sample."""
    sets = [
        f"data.name={dataset(devices * samples)}",
        *("data.partition=iid", f"devices={devices}", "sampled_devices=20", f"rounds={rounds}", "batch_size=20"),
        *("model.name=vgg11", "model.width=0.25", "model.head_width=256", "threads=1", "test_samples=100"),
        *("ecofed.buffer=disk", "ecofed.refresh=period", "ecofed.period=1", f"evaluate_every={rounds}"),
    ]
    return Settings.load(None, sets).for_method("ecofed")


def fill(config: Config, folder: Path) -> dict[str, float]:
    """A run after its first round, in which every device has uploaded."""
    folder.mkdir(parents=True)
    prepared = prepare(config, lambda _: None)
    transport = InProcessTransport(prepared.worker)
    going = start(prepared, transport, folder, None, None, "", [], fleet=False)
    write_unfinished(going.nothing_yet(), folder)
    going.records += [next(train(going.method, Judges(going.method, prepared).each_round))]
    method, draw = going.method, np.random.default_rng(1)
    assert isinstance(method, EcoFed)
    before = time.process_time()
    for device, part in enumerate(prepared.parts):
        if device in method.history.samples:
            continue
        order_N = upload_order(config.seed, device, 0, len(part)).astype(np.int64)
        view = View(
            rows=draw.integers(0, 256, (len(part), method.codec.row_bytes), dtype=np.uint8),
            scale_N=np.empty(0, np.float32),
            sample_N=order_N,
            labels_N=prepared.dataset.train.labels_N[part[order_N]],
        )
        method.buffer.put(device, 0, view, method.bundle.id)
        method.history.add(device, 1, len(part) * method.codec.row_bytes, len(part))
    filled = time.process_time()
    write_metrics(folder, going.records)
    going.checkpoint().write(folder)
    uploads = len(prepared.parts) - config.sampled_devices
    return {
        "row bytes": method.codec.row_bytes,
        "milliseconds an upload": 1000 * (filled - before) / max(1, uploads),
        "first checkpoint": time.process_time() - filled,
    }


class Watch(SilentObserver):
    """Notes when the start has ended, and each round."""

    def __init__(self, folder: Path, last: int) -> None:
        self._folder, self._last = folder, last
        self.started_after = 0.0
        self.rounds: list[dict[str, float]] = []
        self._at = 0.0

    def started(self, config: Config, records: Any) -> None:  # noqa: ARG002
        self.started_after = self._at = time.process_time()

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        now = time.process_time()
        self.rounds.append({"round": record.round, "seconds": now - self._at, "loss": record.train_loss or 0.0})
        print(json.dumps(self.rounds[-1]), file=sys.stderr, flush=True)
        if record.round == self._last:
            raise KeyboardInterrupt
        self._at = time.process_time()


def go_on(config: Config, folder: Path, last: int) -> dict[str, Any]:
    """Resume, run until this round, and stop without another checkpoint than the engine's own."""
    watch = Watch(folder, last)
    with contextlib.suppress(KeyboardInterrupt):
        run(config, out=folder, resume=True, observer=watch, report=False)
    return {
        "start": watch.started_after,
        "rounds": watch.rounds,
        "memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def saved(config: Config, folder: Path) -> dict[str, float]:
    """What a checkpoint takes and writes after one round more."""
    prepared = prepare(config, lambda _: None)
    checkpoint = begun(folder, config, prepared.inputs, lambda _: None)
    going = start(prepared, InProcessTransport(prepared.worker), folder, checkpoint, None, "", [], fleet=False)
    going.checkpoint().write(folder)  # the first one after a start looks for what was left
    rounds = train(going.method, Judges(going.method, prepared).each_round, first_round=len(going.records) + 1)
    going.records.append(next(rounds))
    before = {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    table = (folder / BUFFER_FOLDER / "uploads.table").stat().st_size
    at = time.process_time()
    going.checkpoint().write(folder)
    took = time.process_time() - at
    written = [p for p in folder.rglob("*") if p.is_file() and p.stat().st_mtime_ns != before.get(p.name)]
    return {
        "seconds": took,
        "checkpoint bytes": (folder / CHECKPOINT_FILE).stat().st_size,
        "table bytes": (folder / BUFFER_FOLDER / "uploads.table").stat().st_size - table,
        "other files": len(written) - 3,
    }


def child(part: str, devices: int, options: argparse.Namespace, folder: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, __file__, "--part", part, "--devices", str(devices), "--samples", str(options.samples)),
        *("--rounds", str(options.rounds), "--out", str(folder), *more),
    ]


def part_of(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout))


def copied(folder: Path, place: Path) -> Path:
    """A copy of a run's folder; files of uploads, which never change, are shared."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            twin = place / path.relative_to(folder)
            twin.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".view":
                twin.hardlink_to(path)
            else:
                shutil.copy(path, twin)
    return place


def killed(command: list[str], rounds: int) -> None:
    """Start it, and kill it in the middle of the round after so many."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for seen, _ in enumerate(process.stderr, 1):
        if seen == rounds:
            break
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    process.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=50, help="of a device")
    parser.add_argument("--rounds", type=int, default=7, help="that are timed")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=("fill", "go-on", "save"), help="do this in this process, print JSON")
    options = parser.parse_args()
    if options.part:
        config = configuration(options.devices, options.samples, 1000)
        if options.part == "fill":
            found: dict[str, Any] = fill(config, options.out)
        elif options.part == "go-on":
            found = go_on(config, options.out, 1 + options.rounds)
        else:
            found = saved(config, options.out)
        print(json.dumps(found))
        return
    shutil.rmtree(options.out, ignore_errors=True)
    found = {"machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores", "commit": git_commit()}
    for devices in (100, options.devices):
        folder = options.out / str(devices)
        one = {"fill": part_of(child("fill", devices, options, folder))}
        files = [path.stat().st_size for path in (folder / BUFFER_FOLDER).iterdir()]
        one["buffer"] = {"files": len(files), "bytes": sum(files)}
        twin = copied(folder, options.out / f"{devices}-uninterrupted")
        one["gone on"] = whole = part_of(child("go-on", devices, options, twin))
        killed(child("go-on", devices, options, folder), 2)
        resumed = part_of(child("go-on", devices, options, folder))["rounds"]
        losses = {record["round"]: record["loss"] for record in whole["rounds"]}
        one["rounds after kill -9 with the same loss"] = sum(losses[r["round"]] == r["loss"] for r in resumed)
        assert all(losses[record["round"]] == record["loss"] for record in resumed), "it went on differently"
        one["a checkpoint"] = part_of(child("save", devices, options, folder))
        one["round"] = statistics.median(record["seconds"] for record in whole["rounds"][1:])
        found[str(devices)] = one
    found["ratio of rounds"] = found[str(options.devices)]["round"] / found["100"]["round"]
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
