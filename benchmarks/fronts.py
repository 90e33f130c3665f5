"""The runs behind docs/results-fronts.md: what a front is worth, under a linear probe and in full EcoFed runs.

    python benchmarks/fronts.py make                 the fronts that do not ship: runs/fronts/NAME.safetensors
    python benchmarks/fronts.py probe                linear probes of every front
    python benchmarks/fronts.py run --jobs 2         the full runs that are missing
    python benchmarks/fronts.py write                docs/results/fronts.json, the page's tables and its plot

Needs CIFAR-10, Fashion-MNIST and (for rotations) tiny-imagenet-32 where ``ecofed data list`` finds them.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs" / "fronts"
RECORDS = ROOT / "docs" / "results" / "fronts.json"
PAGE = ROOT / "docs" / "results-fronts.md"
PLOT = ROOT / "docs" / "images" / "fronts-probe.png"

SHIPPED = "vgg11-w0.5-rgb"

#: Fronts that do not ship, at the width of the shipped ones that they are held against.
MADE = {
    "fractals": "--images fractals --epochs 5 --width 0.5",
    "rotations": "--images tiny-imagenet-32 --labels rotations --epochs 4 --width 0.5",
    "fractals-grey": "--images fractals --epochs 5 --width 0.25 --grey",
    "rotations-grey": "--images tiny-imagenet-32 --labels rotations --epochs 4 --width 0.25 --grey",
}

#: Uploads every other round of 4-bit codes, for fronts of full size.
WIDE = {"codec.bits": "4", "ecofed.refresh": "period"}
FAST = {"precision": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the arms of one table have in common."""

    preset: str
    sets: Mapping[str, str]
    arms: Mapping[str, tuple[Mapping[str, str], int]]
    """By label: settings, everything else is the preset's; and how many seeds."""


ENDS = {
    "bottleneck front, 256 B an image": ({"ecofed.refresh": "period"}, 1),
    "the same, one upload in a device's life (default)": ({}, 1),
}
SETTINGS = {
    "runs": Setting(
        preset="cpu-vgg11-cifar10-skewed",
        sets={"rounds": "30", **FAST},
        arms={
            "random front": ({**WIDE, "front.name": "random"}, 3),
            "Tiny-ImageNet front (shipped)": (WIDE, 3),
            **ENDS,
            "fractal front": ({**WIDE, "front.name": "runs/fronts/fractals.safetensors"}, 3),
            "rotations front": ({**WIDE, "front.name": "runs/fronts/rotations.safetensors"}, 1),
            "Tiny-ImageNet front, pre-trained back": ({**WIDE, "initialisation": "whole"}, 1),
            "end to end: the images on the server (JPEG 95)": (
                {"method": "send-images", "initialisation": "whole", "send-images.quality": "95"},
                1,
            ),
            "end to end, a new back": ({"method": "send-images", "send-images.quality": "95"}, 1),
        },
    ),
    "runs-iid": Setting(
        preset="cpu-vgg11-cifar10",
        sets={"rounds": "30", **FAST},
        arms={
            "random front, IID": ({**WIDE, "front.name": "random"}, 1),
            "Tiny-ImageNet front (shipped), IID": (WIDE, 1),
            "one upload of the bottleneck front (default), IID": ({}, 1),
            "fractal front, IID": ({**WIDE, "front.name": "runs/fronts/fractals.safetensors"}, 1),
            "rotations front, IID": ({**WIDE, "front.name": "runs/fronts/rotations.safetensors"}, 1),
            "Tiny-ImageNet front, pre-trained back, IID": ({**WIDE, "initialisation": "whole"}, 1),
            "end to end, a new back, IID": ({"method": "send-images", "send-images.quality": "95"}, 1),
        },
    ),
    "runs-fashion": Setting(
        preset="quickstart",
        sets={},
        arms={
            "random front, Fashion-MNIST": ({**WIDE, "front.name": "random"}, 3),
            "Tiny-ImageNet front (shipped), Fashion-MNIST": (WIDE, 3),
            "one upload of the bottleneck front (default), Fashion-MNIST": ({}, 3),
            "fractal front, Fashion-MNIST": ({**WIDE, "front.name": "runs/fronts/fractals-grey.safetensors"}, 3),
            "rotations front, Fashion-MNIST": ({**WIDE, "front.name": "runs/fronts/rotations-grey.safetensors"}, 1),
            "Tiny-ImageNet front, pre-trained back, Fashion-MNIST": ({**WIDE, "initialisation": "whole"}, 1),
            "end to end: the images on the server (JPEG 95), Fashion-MNIST": (
                {"method": "send-images", "send-images.quality": "95"},
                1,
            ),
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One ``ecofed run``."""

    setting: str
    label: str
    seed: int

    @property
    def name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.label} seed {self.seed}".lower()).strip("-")

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def command(self) -> list[str]:
        setting = SETTINGS[self.setting]
        sets = {**setting.sets, **setting.arms[self.label][0], "seed": str(self.seed)}
        return ["run", setting.preset, *(word for key, value in sets.items() for word in ("--set", f"{key}={value}"))]

    @property
    def finished(self) -> bool:
        """On this machine."""
        return (self.folder / "result.json").exists()


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a table of probes is about."""

    data: str
    front: str
    """The shipped front of full size."""
    width: float
    made: str
    """Ending of the names of the fronts in ``MADE``."""


PROBES = {
    "probes": Probed(data="cifar10", front=SHIPPED, width=0.5, made=""),
    "probes-fashion": Probed(data="fashion-mnist", front="vgg11-w0.25-grey", width=0.25, made="-grey"),
}


def runs() -> list[Run]:
    """First seeds first, so that every arm has a figure early."""
    every = [
        Run(setting=name, label=label, seed=seed)
        for name, setting in SETTINGS.items()
        for label, (_, seeds) in setting.arms.items()
        for seed in range(seeds)
    ]
    return sorted(every, key=lambda run: run.seed)


app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command()
def make() -> None:
    """Pre-train the fronts that do not ship."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in MADE:
        if not (FOLDER / f"{name}.safetensors").exists():
            _ecofed(made_command(name), FOLDER / f"{name}.log")


def made_command(name: str) -> list[str]:
    """The ``ecofed`` words that make a front."""
    out = f"runs/fronts/{name}.safetensors"
    return ["pretrain", *shlex.split(MADE[name]), "--threads", "1", "--resume", "--out", out]


@app.command("run")
def run_missing(jobs: int = 1, only: str = "") -> None:
    """The full runs that are missing."""
    known = _load().get("runs", {})
    missing = [run for run in runs() if not run.finished and run.name not in known and re.search(only, run.name)]
    with ThreadPoolExecutor(jobs) as pool:
        for run, code in zip(missing, pool.map(_execute, missing), strict=True):
            print("finished" if code == 0 else f"FAILED ({code})", run.name, flush=True)


def _execute(run: Run) -> int:
    run.folder.mkdir(parents=True, exist_ok=True)
    return _ecofed([*run.command, "--out", str(run.folder), "--resume"], FOLDER / f"{run.name}.log")


def _ecofed(words: list[str], log: Path) -> int:
    with log.open("w") as file:
        command = [str(Path(sys.executable).parent / "ecofed"), *words]
        return subprocess.run(command, stdout=file, stderr=file, check=False, cwd=ROOT).returncode


@app.command()
def probe(train: int = 5_000, only: str = "") -> None:
    """Linear probes of every front on decoded codes, and of random fronts and raw pixels, on both data sets."""
    records = _load()
    for table, probed in PROBES.items():
        if re.search(only, table):
            records[table] = _probes(probed, train)
            _save(records)


def _probes(probed: Probed, train: int) -> dict[str, Any]:
    from ecofed.config.problem import ModelConfig
    from ecofed.data import load_dataset
    from ecofed.pretraining import probe_front, probe_pixels, probe_set, random_front, shipped_fronts
    from ecofed.wire import FrontBundle

    sample = probe_set(load_dataset(probed.data), train=train, test=8_000, part="report")
    pixels = sample.train.images_NHWC[0].size
    found: dict[str, Any] = {"raw pixels": {"accuracy": probe_pixels(sample), "bytes": pixels}}

    def add(label: str, bundle: FrontBundle, bits: int) -> None:
        size = -(-bundle.activation_shape[0] * bundle.activation_shape[1] * bundle.activation_shape[2] * bits // 8)
        row = {"accuracy": probe_front(bundle, sample, bits), "bytes": size, "bits": bits, "id": bundle.id}
        found[f"{label}, {bits} bit"] = row
        print(label, row, flush=True)

    for front in shipped_fronts():
        if front.name == probed.front:
            for bits in (1, 2, 4, 8):
                add(front.name, front.load(), bits)
        elif front.name.startswith(f"{probed.front}-"):
            for bits in sorted(front.load().upper):
                add(front.name, front.load(), bits)
    model, channels = ModelConfig(width=probed.width), 1 if probed.made else 3
    for seed in (0, 1, 2):
        add(f"random, seed {seed}", random_front(model, channels, seed), 4)
    add("random, seed 0", random_front(model, channels, 0), 1)
    for name in ("fractals", "rotations"):
        file = FOLDER / f"{name}{probed.made}.safetensors"
        if file.exists():
            add(name, FrontBundle.load(file), 4)
    return {"data": sample.title, "train": len(sample.train), "test": len(sample.test), "rows": found}


@app.command()
def write() -> None:
    """Take in finished runs; write the tables between the page's marks, and the plot."""
    records = _load()
    kept = records.setdefault("runs", {})
    kept |= {run.name: _record(run) for run in runs() if run.finished}
    _save(records)
    text = PAGE.read_text(encoding="utf-8")
    tables = {name: _run_table(kept, setting) for name, setting in SETTINGS.items()}
    tables |= {name: _probe_table(records[name]["rows"]) for name in PROBES if name in records}
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        pattern = f"{re.escape(begin)}.*?{end}"
        text = re.sub(pattern, lambda _, t=table, b=begin, e=end: f"{b}\n{t}\n{e}", text, flags=re.DOTALL)
    PAGE.write_text(text, encoding="utf-8")
    if "probes" in records:
        _plot(records["probes"]["rows"])


def _record(run: Run) -> dict[str, Any]:
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    totals = result["totals"]
    return {
        "label": run.label,
        "seed": run.seed,
        "command": " ".join(["ecofed", *run.command]),
        "commit": result["git_commit"],
        "accuracy": totals["final_test_accuracy"],
        "bytes": totals["uplink_bytes"] + totals["downlink_bytes"],
        "rounds": [[r["round"], r["test_accuracy"]] for r in result["rounds"] if r["test_accuracy"] is not None],
        "front": (result["front"] or {}).get("id"),
        "test_samples": result["data"]["test_samples"],
        "processor": result["environment"]["processor"],
    }


def _run_table(records: Mapping[str, Any], setting: Setting) -> str:
    lines = ["| front | accuracy | bytes | seeds | command (seed 0) |", "|---|--:|--:|--:|---|"]
    for label in setting.arms:
        found = [record for record in records.values() if record["label"] == label]
        if found:
            size = mean(record["bytes"] for record in found) / 1e6
            accuracy = _interval([record["accuracy"] for record in found])
            lines.append(f"| {label} | {accuracy} | {size:,.1f} MB | {len(found)} | `{found[0]['command']}` |")
    return "\n".join(lines)


def _probe_table(probes: Mapping[str, Any]) -> str:
    lines = ["| front, codec | probe accuracy | bytes an image |", "|---|--:|--:|"]
    lines += [f"| {label} | {row['accuracy']:.3f} | {row['bytes']:,} |" for label, row in probes.items()]
    return "\n".join(lines)


#: Two-sided 95 % quantiles of Student's t for n - 1 degrees of freedom.
_T = {2: 12.71, 3: 4.30}


def _interval(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ± {_T[len(values)] * stdev(values) / len(values) ** 0.5:.3f}"


def _plot(probes: Mapping[str, Any]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    groups = {
        "shipped front, 1 to 8 bits": [row for label, row in probes.items() if label.startswith(f"{SHIPPED},")],
        "bottleneck fronts": [row for label, row in probes.items() if label.startswith(f"{SHIPPED}-")],
        "fractals, 4 bits": [row for label, row in probes.items() if label.startswith("fractals")],
        "rotations, 4 bits": [row for label, row in probes.items() if label.startswith("rotations")],
        "random front": [row for label, row in probes.items() if label.startswith("random, seed 0")],
        "raw pixels": [row for label, row in probes.items() if label == "raw pixels"],
    }
    for label, rows in groups.items():
        rows = sorted(rows, key=lambda row: row["bytes"])
        axes.plot([row["bytes"] for row in rows], [row["accuracy"] for row in rows], marker="o", label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
    axes.set_xlabel("bytes an image")
    axes.set_ylabel("linear probe accuracy, CIFAR-10 (JPEG)")
    axes.grid(alpha=0.3)
    axes.legend()
    PLOT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(PLOT, dpi=120)


def _load() -> dict[str, Any]:
    return dict(json.loads(RECORDS.read_text(encoding="utf-8"))) if RECORDS.exists() else {}


def _save(records: Mapping[str, Any]) -> None:
    RECORDS.parent.mkdir(parents=True, exist_ok=True)
    RECORDS.write_text(json.dumps(records, indent=1, sort_keys=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
