"""Do the recorded results still hold? (``make results-check``)

    python benchmarks/results_check.py record           write docs/results/check.json: rows of the tables, smaller
    python benchmarks/results_check.py check [--rows 2] run two of them again, drawn at random, and compare
    python benchmarks/results_check.py figures          whether accuracies in README and docs stand in the records

A row at reduced size is the row's own command with 10 devices of 40 images, two rounds and 400 test images. On the same
kind of processor with the same PyTorch it must come out bit for bit; elsewhere its bytes must be within a thousandth
(entropy-coded codes may differ in an entry) and its losses within a twentieth. Needs CIFAR-10.
"""

from __future__ import annotations

import json
import platform
import random
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import results
import typer
from results import ROOT, Run

RECORDS = ROOT / "docs" / "results" / "check.json"
REDUCED = {
    "rounds": "2",
    "devices": "10",
    "sampled_devices": "4",
    "data.samples_per_device": "40",
    "test_samples": "400",
    "evaluate_every": "1",
    "threads": "1",
}
#: Which rows: of every method and kind of codec, without the hours of pre-training that some start with.
ROWS = ("ecofed", "ecofed (as in the paper)", "classic-fl", "lgl", "vanilla-dpfl", "fedgkt")
POINTS = (
    "64 B an image",
    "128 B an image (tiny-uplink)",
    "4 bits, full size, every 2 rounds (max-accuracy)",
    "closed-form",
)
NEAR_BYTES, NEAR_LOSS = 1e-3, 0.05
#: Accuracies in prose: three decimals, not part of a longer number.
ACCURACY = re.compile(r"(?<![\d.])0\.[1-9]\d{2}(?!\d)")
#: Files whose figures count as recorded, and pages whose sentences are held against them.
RECORDED = ("runs.json", "fronts.json", "photos.json", "again.json", "privacy.json")
PAGES = ("README.md", "docs/results.md", "docs/paper.md", "docs/explanation/pipelines.md")

app = typer.Typer(add_completion=False, no_args_is_help=True)


def rows() -> Iterator[Run]:
    """The rows at reduced size."""
    chosen = [
        run for run in results.table_runs() if run.seed == 0 and run.label in ROWS and run.preset == results.SKEWED
    ]
    chosen += [run for run in results.point_runs() if run.seed == 0 and run.label in POINTS]
    for run in chosen:
        sets = {**run.sets, **REDUCED, "precision": "float32"}
        if sets.get("initialisation") == "whole":
            sets["initialisation"] = "front"  # a whole network takes minutes to pre-train
        yield Run(group="check", preset=run.preset, label=run.label, sets=sets)


def made(run: Run) -> dict[str, Any]:
    """Train it, and what of it is compared."""
    import torch

    import ecofed

    words = [f"{key}={value}" for key, value in {**run.sets, "seed": "0"}.items()]
    settings = ecofed.Settings.load(run.preset, words)
    result = ecofed.run(settings, observer=ecofed.SilentObserver())
    return {
        "command": " ".join(run.command),
        "losses": [record.train_loss for record in result.rounds],
        "accuracies": [record.test_accuracy for record in result.rounds],
        "bytes": result.total_bytes,
        "machine": f"{_processor()}, PyTorch {torch.__version__.partition('+')[0]}",
        "commit": result.git_commit,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    found = re.search(r"model name\s*: (.*)", text)
    kinds = [flag for flag in ("avx2", "avx512f", "avx512_bf16") if re.search(rf"\b{flag}\b", text)]
    return f"{found[1] if found else platform.processor()} ({', '.join(kinds)})"


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is not as it was; on another machine, what is not near it."""
    same = then["machine"] == now["machine"]
    said = []
    if abs(now["bytes"] - then["bytes"]) > (0 if same else NEAR_BYTES * then["bytes"]):
        said.append(f"{now['bytes']:,} bytes, recorded {then['bytes']:,}")
    for old, new in zip(then["losses"], now["losses"], strict=True):
        if (old is None) != (new is None) or (old is not None and abs(new - old) > (0 if same else NEAR_LOSS * old)):
            said.append(f"loss {new}, recorded {old}")
    if same and then["accuracies"] != now["accuracies"]:
        said.append(f"accuracies {now['accuracies']}, recorded {then['accuracies']}")
    return said


@app.command("record")
def record() -> None:
    """Run all rows at reduced size, and write what came out."""
    found = {run.label: made(run) for run in rows()}
    RECORDS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{RECORDS}: {len(found)} rows")


@app.command("check")
def check(
    number: Annotated[int, typer.Option("--rows", min=1, help="How many.")] = 2,
    seed: Annotated[int | None, typer.Option(help="Of the draw; default: another one each time.")] = None,
) -> None:
    """Run some of them again, and compare. Then look at the figures."""
    known = json.loads(RECORDS.read_text(encoding="utf-8"))
    drawn = random.Random(seed).sample(sorted(rows(), key=lambda run: run.label), number)
    bad = 0
    for run in drawn:
        then, now = known[run.label], made(run)
        said = differences(then, now)
        how = "bit for bit" if then["machine"] == now["machine"] else f"near what {then['machine']} gave"
        print(f"{'DIFFERS' if said else 'as recorded'} {run.label} ({how}){': ' if said else ''}{'; '.join(said)}")
        bad += bool(said)
    bad += unrecorded()
    sys.exit(1 if bad else 0)


@app.command("figures")
def figures() -> None:
    """Whether every accuracy in the pages' sentences stands in the records."""
    sys.exit(1 if unrecorded() else 0)


def unrecorded() -> int:
    """Print accuracies that nothing recorded gives; how many."""
    known = {f"{value:.3f}" for name in RECORDED for value in _numbers(_read(name))} | _means()
    missing = 0
    for page in PAGES:
        for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
            for figure in () if line.startswith("|") and "`ecofed " in line else ACCURACY.findall(line):
                if figure not in known:
                    print(f"{page}:{number}: {figure} stands in no record")
                    missing += 1
    return missing


def _read(name: str) -> Any:
    place = ROOT / "docs" / "results" / name
    return json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}


def _numbers(value: Any, key: str = "") -> Iterator[float]:
    """Accuracies: what is called so, alone. (Among the thousands of all curves almost any figure would be found.)"""
    if isinstance(value, float) and 0 <= value < 1 and ("accuracy" in key or "probe" in key or key == "ssim"):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _numbers(each, name)
    elif isinstance(value, list) and "rounds" not in key:
        for each in value:
            yield from _numbers(each, key)


def _means() -> set[str]:
    """Means over the seeds of a row, their half intervals, and each run's best evaluation."""
    groups: dict[str, list[float]] = {}
    best = set[str]()
    for name, row in {**_read("runs.json"), **_read("photos.json")}.items():
        accuracy = row.get("accuracy")
        best |= {f"{max((one[1] for one in row.get('rounds', []) if one[1] is not None), default=0.0):.3f}"}
        if isinstance(accuracy, float):
            groups.setdefault(re.sub(r"-seed\d+$", "", name), []).append(accuracy)
    several = [values for values in groups.values() if len(values) > 1]
    means = {f"{sum(values) / len(values):.3f}" for values in several}
    return best | means | {f"{results.half_width(values):.3f}" for values in several}


if __name__ == "__main__":
    app()
