"""What counts of classes are worth in place of labels, and what they hide: a table of docs/explanation/privacy.md.

    python benchmarks/class_counts.py run       the runs that are missing (resumes what was cut off)
    python benchmarks/class_counts.py write     docs/results/class-counts.json, and the table between the page's marks

Needs Fashion-MNIST and CIFAR-10 where ``ecofed data list`` finds them. A run's folder is ``runs/class-counts/NAME``.
What the server infers is worked out with the devices' own labels, which it does not have.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from results import ROOT, half_width

from ecofed.config import Config
from ecofed.data import to_input
from ecofed.data.stored import part_of
from ecofed.devices import LocalData
from ecofed.methods.class_counts import ClassCounts
from ecofed.runs.preparation import prepare
from ecofed.runs.saved_model import load_model

FOLDER = ROOT / "runs" / "class-counts"
RECORDS = ROOT / "docs" / "results" / "class-counts.json"
PAGE = ROOT / "docs" / "explanation" / "privacy.md"

_QUICK = "quickstart --set method=ecofed"
_CIFAR = (
    "cpu-vgg11-cifar10-skewed --set precision=bfloat16 --set rounds=10 --set sampled_devices=100 --set "
    "data.samples_per_device=100 --set ecofed.server_steps=100 --set test_samples=2000 --set evaluate_every=10"
)
_COUNTS = " --set ecofed.privacy.labels=counts"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Runs of some seeds."""

    label: str
    words: str
    seeds: tuple[int, ...]

    def command(self, seed: int) -> str:
        return f"ecofed run {self.words} --set seed={seed}"

    def folder(self, seed: int) -> Path:
        return FOLDER / f"{re.sub(r'[^a-z0-9]+', '-', self.label.lower())}-seed{seed}"


ROWS = (
    Row(label="Fashion-MNIST, 3 shards a device: labels", words=_QUICK, seeds=(0, 1, 2)),
    Row(label="the same: counts", words=_QUICK + _COUNTS, seeds=(0, 1, 2)),
    Row(label="Fashion-MNIST, all devices alike: labels", words=f"{_QUICK} --set data.partition=iid", seeds=(0,)),
    Row(label="the same, alike: counts", words=f"{_QUICK} --set data.partition=iid{_COUNTS}", seeds=(0,)),
    Row(label="CIFAR-10, 5 shards a device: counts", words=_CIFAR + _COUNTS, seeds=(0,)),
)

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("run")
def run_missing() -> None:
    """The runs that are missing."""
    for row in ROWS:
        for seed in row.seeds:
            words = [*row.command(seed).split()[1:], "--set", "threads=1", "--out", str(row.folder(seed)), "--resume"]
            subprocess.run([sys.executable, "-m", "ecofed", *words], check=True, cwd=ROOT)


@app.command()
def write() -> None:
    """Take in finished runs, and write the table."""
    known: dict[str, Any] = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}
    for row in ROWS:
        for seed in row.seeds:
            if (row.folder(seed) / "result.json").is_file():
                known[row.command(seed)] = _record(row.folder(seed))
    RECORDS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    begin, end = "<!-- table: class counts -->", "<!-- end -->"
    text = PAGE.read_text(encoding="utf-8")
    table = "\n".join(_lines(known))
    PAGE.write_text(re.sub(f"{begin}.*?{end}", f"{begin}\n{table}\n{end}", text, flags=re.DOTALL), encoding="utf-8")


def _record(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    told, guessed = _inferred(folder, Config.from_dict(found["config"]))
    return {
        "accuracy": found["totals"]["final_test_accuracy"],
        "inferred_accuracy": told,
        "guessed_accuracy": guessed,
        "commit": found["git_commit"],
    }


@torch.no_grad()
def _inferred(folder: Path, config: Config) -> tuple[float, float]:
    """Of the devices' images, those whose class the trained network says rightly given their device's counts; and those
    of each device's most frequent class."""
    prepared, model = prepare(config, lambda _: None), load_model(folder)
    train, task = prepared.dataset.train, prepared.task
    model.front.eval()
    model.back.eval()
    device_N = np.repeat(np.arange(len(prepared.parts)), [len(part) for part in prepared.parts])
    counts = ClassCounts(train.labels_N[np.concatenate(prepared.parts)], device_N, task.classes, evenly=False)
    right = most = 0
    for device, part in enumerate(prepared.parts):
        own = LocalData(task, device, part_of(train.images_NHWC, part), train.labels_N[part])
        x_NCHW = torch.from_numpy(to_input(own.plain(slice(None)), task.mean, task.std, task.input_size))
        logits_NK = model.back(model.front(x_NCHW)) + counts.odds(np.full(len(own), device))
        right += int((logits_NK.argmax(dim=1).numpy() == own.labels_N).sum())
        most += int(np.bincount(own.labels_N).max(initial=0))
    return right / len(device_N), most / len(device_N)


def _lines(known: dict[str, Any]) -> list[str]:
    lines = [
        "| what devices tell | accuracy | seeds | their labels that the server infers | guessing each device's most "
        "frequent class | command, commit |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in ROWS:
        rows = [known[row.command(seed)] for seed in row.seeds if row.command(seed) in known]
        if not rows:
            continue
        accuracies = [each["accuracy"] for each in rows]
        spread = f" ± {half_width(accuracies):.3f}" if len(rows) > 1 else ""
        told, guessed = (
            sum(each[key] for each in rows) / len(rows) for key in ("inferred_accuracy", "guessed_accuracy")
        )
        inferred = f"{told:.0%} | {guessed:.0%}" if "counts" in row.label else "all | -"
        commits = ", ".join(dict.fromkeys(each["commit"][:9] for each in rows))
        lines.append(
            f"| {row.label} | {sum(accuracies) / len(rows):.3f}{spread} | {len(rows)} | {inferred} | "
            f"`{row.command(row.seeds[0])}` {commits} |"
        )
    return lines


if __name__ == "__main__":
    app()
