"""The runs behind docs/results-photos.md: the preset ``photos`` and its rivals, on sets of photographs, three seeds.

    python benchmarks/results_photos.py list                     every run, and whether it is done
    python benchmarks/results_photos.py run trashnet --jobs 1    run what is missing of a set (resumes what was cut off)
    python benchmarks/results_photos.py fronts                   what the rows of cifar10 run on devices
    python benchmarks/results_photos.py write                    docs/results/photos.json and the page's tables
    python benchmarks/results_photos.py picture                  docs/images/photos-*

A run is one ``ecofed run photos`` command; its folder is ``runs/results/NAME``. Accuracy is that on the report images.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from statistics import mean
from typing import Annotated, Any

import results
import typer
from results import ROOT, Run

RECORDS = ROOT / "docs" / "results" / "photos.json"
PAGE = ROOT / "docs" / "results-photos.md"
PRESET = "photos"
SEEDS = (0, 1, 2)

#: Of each set: what the preset does not say.
SETS: dict[str, dict[str, str]] = {
    "trashnet": {"data.name": "trashnet", "devices": "50", "sampled_devices": "50"},
    "deepweeds": {
        "data.name": "deepweeds",
        "data.partition": "column",
        "data.device_column": "client",
        "devices": "99",
        "sampled_devices": "99",
    },
    # Made by the page's commands, from its authors' repository.
    "grocery": {"data.name": "grocery", "devices": "50", "sampled_devices": "50"},
    # Thumbnails: the CPU tier's devices (docs/results.md), and the same network on enlarged pictures.
    "cifar10": {
        "data.name": "cifar10",
        "data.partition": "shards",
        "data.shards_per_device": "5",
        "devices": "100",
        "sampled_devices": "100",
        "rounds": "60",  # of a tenth of a pass each
        "ecofed.server_steps": "157",
        "evaluate_every": "60",
    },
}

#: That of every row, so that processors do not choose (``run --precision`` does, where bfloat16 is emulated and slow).
ARITHMETIC = {"threads": "1", "precision": "bfloat16"}
#: The features of its rival are those of the last block, as such classifiers are published.
WHOLE_FRONT = {"method": "closed-form", "model.cut": "block16", "closed-form.features": "320", "rounds": "1"}
#: Devices train the whole network on their images, from the same weights.
TRAINED = {"evaluate_every": "3"}

#: Rows of the tables, the most important first.
ROWS: dict[str, dict[str, str]] = {
    "ecofed, 320 B": {"method": "ecofed", "front.bytes_per_image": "320"},
    "send-images, quality 75": {"method": "send-images", "send-images.quality": "75"},
    "closed-form, class means": {**WHOLE_FRONT, "closed-form.sends": "class-means"},
    "closed-form, second moments": WHOLE_FRONT,
    "ecofed, 640 B": {"method": "ecofed", "front.bytes_per_image": "640"},
    "send-images, quality 20": {"method": "send-images", "send-images.quality": "20"},
    "ecofed, 160 B": {"method": "ecofed", "front.bytes_per_image": "160"},
    "send-images, quality 50": {"method": "send-images", "send-images.quality": "50"},
    "ecofed, 256 B": {"method": "ecofed", "front.bytes_per_image": "256"},
    "ecofed, 128 B": {"method": "ecofed", "front.bytes_per_image": "128"},
    # The rest of the network on codes costs half of what the whole network costs on photographs: as much time.
    "ecofed, 320 B, 24 passes": {"method": "ecofed", "front.bytes_per_image": "320", "rounds": "24"},
    "ecofed, 256 B, 24 passes": {"method": "ecofed", "front.bytes_per_image": "256", "rounds": "24"},
    "ecofed, 128 B, 24 passes": {"method": "ecofed", "front.bytes_per_image": "128", "rounds": "24"},
    # Parts of activations, enlarged, as the rival's pixels are.
    "ecofed, 320 B, crops": {"method": "ecofed", "front.bytes_per_image": "320", "ecofed.crop": "1"},
    "ecofed, 320 B, crops, 24 passes": {
        "method": "ecofed",
        "front.bytes_per_image": "320",
        "ecofed.crop": "1",
        "rounds": "24",
    },
    # Codes that lose next to nothing: what the frozen front leaves.
    "ecofed, 2,560 B": {"method": "ecofed", "front.bytes_per_image": "2560"},
    "ecofed, 2,560 B, crops": {"method": "ecofed", "front.bytes_per_image": "2560", "ecofed.crop": "1"},
    "classic-fl": {"method": "classic-fl", **TRAINED},
    "vanilla-dpfl": {"method": "vanilla-dpfl", **TRAINED},
}

#: What thumbnails are coded by: principal components as they are, or a transform, whose components are weighed by what
#: the rest of the network reacts to.
PLAIN = {"method": "ecofed", "codec.name": "uniform", "codec.bits": "2", "front.precision": "compact"}
TRANSFORMED = {"method": "ecofed", "front.precision": "compact"}
#: Bytes an image, and the side of the pictures that the network takes.
THUMBNAILS = {"64": "48", "128": "48", "256": "64", "32": "48"}
#: The same of transformed codes, which take so many after entropy coding.
TRANSFORMED_THUMBNAILS = {"60": "48", "120": "48", "240": "64", "30": "48"}


def front_of(size: str, side: str) -> str:
    """The front of so many bytes an image, of public thumbnails: ``fronts`` makes it."""
    return f"runs/results/fronts/lite0-{side}px-{size}b.safetensors"


def thumbnails(code: dict[str, str], sides: dict[str, str]) -> dict[str, dict[str, str]]:
    """Rows of one kind of codes."""
    return {
        f"ecofed, {size} B": {**code, "model.image_size": side, "front.name": front_of(size, side)}
        for size, side in sides.items()
    }


OF_SET: dict[str, dict[str, dict[str, str]]] = {
    "cifar10": {**thumbnails(TRANSFORMED, TRANSFORMED_THUMBNAILS), **thumbnails(PLAIN, THUMBNAILS)}
}
"""Rows of other sets than photographs."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


def runs(name: str) -> Iterator[Run]:
    """Of one set, in the order in which they say most."""
    rows = OF_SET.get(name, ROWS)
    for labels in (list(rows)[:2], list(rows)[2:4], list(rows)[4:]):
        for seed in SEEDS:
            for label in labels:
                sets = {**SETS[name], **ARITHMETIC, **rows[label]}
                yield Run(group=f"photos-{name}", preset=PRESET, label=label, seed=seed, sets=sets)


@app.command()
def fronts() -> None:
    """Make the fronts for thumbnails, from public ones (seconds each)."""
    for sides, bits in ((TRANSFORMED_THUMBNAILS, []), (THUMBNAILS, ["--bits", "2"])):
        for size, side in sides.items():
            made = f"pretrain --model efficientnet-lite0 --cut block6 --bytes {size} --size {side}"
            words = [*made.split(), *bits, "--images", "tiny-imagenet-32", "--out", front_of(size, side)]
            (ROOT / front_of(size, side)).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, "-m", "ecofed", *words], cwd=ROOT, check=True)


@app.command("list")
def list_runs() -> None:
    """Every run, and whether it is done."""
    for name in SETS:
        for run in runs(name):
            print("done   " if run.finished or run.name in recorded() else "missing", run.name)


@app.command("run")
def run_set(name: str, jobs: int = 1, only: str = "", precision: str = ARITHMETIC["precision"]) -> None:
    """Run what is missing of a set, some at a time."""
    known = recorded()
    missing = [run for run in runs(name) if not run.finished and run.name not in known and re.search(only, run.name)]
    missing = [results.in_precision(run, precision) for run in missing]
    with ThreadPoolExecutor(jobs) as pool:
        for run, code in zip(missing, pool.map(results.execute, missing), strict=True):
            print("finished" if code == 0 else f"FAILED ({code})", run.name, flush=True)


def recorded() -> dict[str, Any]:
    """Runs that the project holds figures of, by name; delete one from the file to have it run again."""
    return json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}


@app.command()
def write(check: Annotated[bool, typer.Option(help="Fail if the page would change.")] = False) -> None:
    """Take in finished runs, and write the tables between the page's ``<!-- table: NAME -->`` marks."""
    records = recorded()
    for name in SETS:
        records |= {run.name: _record(run) for run in runs(name) if run.finished}
    text = results.with_tables(PAGE.read_text(encoding="utf-8"), {name: _table(records, name) for name in SETS})
    if check:
        raise typer.Exit(int(text != PAGE.read_text(encoding="utf-8")))
    RECORDS.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")


def _record(run: Run) -> dict[str, Any]:
    """As of every run, and bytes by what they are and direction."""
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    ledger = result["ledger"].items()
    moved = {f"{direction} {kind}": size for kind, row in ledger for direction, size in row.items() if size}
    return {**results.record(run), "moved": moved, "samples": result["data"]["train_samples"]}


def _table(records: Mapping[str, Any], name: str) -> str:
    found = [(run, records[run.name]) for run in runs(name) if run.name in records]
    lines = [
        "| | accuracy | uploads | bytes an image | all bytes | without the front | seeds | command, commit |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for label in OF_SET.get(name, ROWS):
        rows = [record for run, record in found if run.label == label]
        if not rows:
            continue
        up = mean(sum(size for kind, size in row["moved"].items() if kind.startswith("uplink")) for row in rows)
        total, front = mean(row["bytes"] for row in rows), mean(row["moved"].get("downlink front", 0) for row in rows)
        cells = (
            label,
            results.interval([row["accuracy"] for row in rows]),
            f"{up / 1e6:,.2f} MB",
            f"{up / rows[0]['samples']:,.0f}",
            f"{total / 1e6:,.1f} MB",
            f"{(total - front) / 1e6:,.2f} MB",
            str(len(rows)),
            f"`{rows[0]['command']}` {(rows[0]['commit'] or '-')[:9]}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else "Not run yet."


#: What TrashNet's photographs as JPEGs of 128 pixels cost once, by quality (the floors in a run's report).
FLOORS = {"quality 75": 2118, "quality 50": 1433}
#: A shape and a colour (Okabe and Ito) a kind of row.
LOOKS = {"ecofed": ("o", "#0072b2"), "send-images": ("s", "#d55e00"), "closed-form": ("^", "#009e73")}


@app.command()
def picture() -> None:
    """docs/images/photos-frontier.png from the records, and photos-strip.jpg from the photographs, if they are here."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    records = recorded()
    figure, axes = plt.subplots(figsize=(8, 4.4))
    for kind, (marker, colour) in LOOKS.items():
        points = []
        for label in (label for label in ROWS if label.startswith(kind)):
            rows = [records[run.name] for run in runs("trashnet") if run.label == label and run.name in records]
            if rows:
                up = mean(sum(size for what, size in row["moved"].items() if what.startswith("uplink")) for row in rows)
                points.append((up / rows[0]["samples"], mean(row["accuracy"] for row in rows), label))
        once = [point for point in points if "passes" not in point[2]]
        if kind == "ecofed":
            axes.plot([x for x, _, _ in sorted(once)], [y for _, y, _ in sorted(once)], color=colour, lw=1)
        for x, y, label in points:
            longer = "passes" in label
            axes.plot(x, y, marker, color=colour, mfc="white" if longer else colour, ms=7)
            if longer:  # hollow, below the same bytes with fewer passes
                continue
            side = {"ha": "right", "xytext": (-8, 4)} if x > 2000 else {"ha": "left", "xytext": (8, -10)}
            if kind == "ecofed":  # neighbours are close: one above the line, the next below it
                side = {"ha": "center", "xytext": (0, -16 if label in ("ecofed, 160 B", "ecofed, 320 B") else 8)}
            axes.annotate(label.removeprefix("ecofed, "), (x, y), textcoords="offset points", fontsize=8.5, **side)
    for name, size in FLOORS.items():
        axes.axvline(size, color="#999", ls=":", lw=1)
        axes.text(size, 0.86, f" all as JPEG, {name}", rotation=90, fontsize=8, color="#555", ha="right", va="bottom")
    axes.set(xscale="log", xlabel="bytes that devices send, per photograph", ylabel="test accuracy", ylim=(0.78, 0.95))
    axes.set_xlim(50, 8000)
    axes.set_xticks([100, 200, 500, 1000, 2000, 5000], ["100", "200", "500", "1,000", "2,000", "5,000"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.set_title(
        "TrashNet, 50 devices: codes (circles; hollow: 24 passes), JPEGs (square), sums (triangles)", fontsize=10
    )
    figure.tight_layout()
    figure.savefig(results.PICTURES / "photos-frontier.png", dpi=110)
    strip()


def strip() -> None:
    """One photograph of each class of each set, as the network sees it."""
    from PIL import Image

    from ecofed.config.network_input import Frame
    from ecofed.data import load_dataset
    from ecofed.data.reading import Reading
    from ecofed.data.transforms import centre

    side, lines, most = 96, [], 9
    for name in ("trashnet", "deepweeds", "grocery"):
        data = load_dataset(name, how=Reading(frame=Frame(image_size=side)))
        labels_N, every = data.train.labels_N, max(1, len(data.classes) // most)
        first = [int((labels_N == label).argmax()) for label in range(0, len(data.classes), every)][:most]
        lines.append([centre(data.train.images_NHWC[at : at + 1], side)[0] for at in first])
    sheet = Image.new("RGB", (side * max(map(len, lines)), side * len(lines)), "white")
    for y, line in enumerate(lines):
        for x, photograph in enumerate(line):
            sheet.paste(Image.fromarray(photograph), (x * side, y * side))
    sheet.save(results.PICTURES / "photos-strip.jpg", quality=85)


if __name__ == "__main__":
    app()
