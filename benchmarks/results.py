"""The runs behind docs/results.md: what to run, how, and the tables made of them.

    python benchmarks/results.py list                    every run, and whether it is done
    python benchmarks/results.py run table --jobs 2      run what is missing in a group (resumes what was cut off)
    python benchmarks/results.py write                   docs/results/runs.json and the tables of docs/results.md
    python benchmarks/results.py picture                 docs/images/results-*.png

Needs CIFAR-10 where ``ecofed data list`` finds it. A run is one ``ecofed run`` command; its folder is
``runs/results/NAME``. Groups: ``tune`` (10 rounds on the tuning images), ``table`` (the five methods), ``ablation``,
``training`` (how the server trains), ``unequal`` (a mixed fleet), ``points`` (from few bytes to many, and the rivals).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ecofed.reports.plots.frontier import PlottedPoint

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs" / "results"
RECORDS = ROOT / "docs" / "results" / "runs.json"
PAGE = ROOT / "docs" / "results.md"
PICTURES = ROOT / "docs" / "images"

SKEWED = "cpu-vgg11-cifar10-skewed"
DEVICES = 100

#: What tuning chose for each method (see the tuning table); the other keys are the preset's.
TUNED: dict[str, dict[str, str]] = {
    "classic-fl": {"normalisation": "batch", "initialisation": "whole", "learning_rate": "0.01"},
    "vanilla-dpfl": {"normalisation": "batch", "initialisation": "whole", "learning_rate": "0.01"},
    "lgl": {"normalisation": "batch", "initialisation": "whole", "learning_rate": "0.01"},
    "fedgkt": {"normalisation": "batch", "initialisation": "whole", "learning_rate": "0.01"},
    "ecofed": {"evaluate_every": "2"},  # it learns fast: more of its curve
}

#: Everything but the table with several seeds trains in mixed precision: the same bytes, in two thirds of the time.
FAST = {"precision": "bfloat16"}

#: Rows of that table whose second and third seed do so too.
FAST_SEEDS = ("vanilla-dpfl", "ecofed (as in the paper)")

#: As good at the end (see the tuning table) and sooner there: rows of their own on skewed VGG11, for the time to an
#: accuracy.
SOONER = {"learning_rate": "0.001", "evaluate_every": "2", **FAST}

#: The paper's EcoFed at this scale.
FAITHFUL = {
    "method": "ecofed",
    "normalisation": "batch",
    "aggregation": "equal",
    "codec.name": "minmax",
    "codec.bits": "8",
    "ecofed.server": "fedavg",
    "ecofed.fresh_momentum": "true",
    "ecofed.refresh": "period",
    "codec.entropy": "none",
    "front.precision": "full",
}

#: The paper's ablations, of uploads every ``period`` rounds with the full-size front.
PERIODIC = {"ecofed.refresh": "period", "codec.bits": "4"}
ABLATIONS: dict[str, dict[str, str]] = {
    "uploads every 2 rounds, 4 bits, full-size front": PERIODIC,  # what each line below changes one thing of
    "no pre-training (random front)": {**PERIODIC, "front.name": "random"},
    "no replay (period 1, fresh uploads only)": {**PERIODIC, "ecofed.replay": "false", "ecofed.period": "1"},
    "no quantisation (float32)": {**PERIODIC, "codec.name": "float32"},
    "8 bits": {**PERIODIC, "codec.bits": "8"},
    "period 1": {**PERIODIC, "ecofed.period": "1"},
    "period 4": {**PERIODIC, "ecofed.period": "4"},
    "period 8": {**PERIODIC, "ecofed.period": "8"},
    "FedAvg of backs": {**PERIODIC, "ecofed.server": "fedavg"},
    "batch statistics": {**PERIODIC, "normalisation": "batch"},
    "one upload of the full-size front's 2-bit codes": {"front.name": "vgg11-w0.5-rgb"},
    "one upload, random front": {"front.name": "random"},
}


#: How the server trains on one view of every image; 30 rounds of the default, one thing changed at a time.
TRAINING: dict[str, dict[str, str]] = {
    "default": {},
    "flip = 0.5": {"ecofed.flip": "0.5"},
    "shift = 0.5": {"ecofed.shift": "0.5"},
    "flip = 0.5, shift = 0.5": {"ecofed.flip": "0.5", "ecofed.shift": "0.5"},
    "cutout = 0.5": {"ecofed.cutout": "0.5"},
    "mixup = 0.2": {"ecofed.mixup": "0.2"},
    "label_smoothing = 0.1": {"ecofed.label_smoothing": "0.1"},
    "ema = 0.998": {"ecofed.ema": "0.998"},
    "sampling = class": {"ecofed.sampling": "class"},
    "schedule = constant": {"ecofed.schedule": "constant"},
    "twice the steps": {"ecofed.server_steps": "500"},
    "initialisation = whole (a pre-trained back, as the baselines have)": {"initialisation": "whole"},
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """One ``ecofed run``."""

    group: str
    preset: str
    label: str
    seed: int = 0
    sets: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        words = (self.group, self.preset, self.label, f"seed{self.seed}")
        return re.sub(r"[^a-z0-9.=]+", "-", "-".join(words).lower()).strip("-")

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def command(self) -> list[str]:
        sets = [
            word for key, value in {**self.sets, "seed": str(self.seed)}.items() for word in ("--set", f"{key}={value}")
        ]
        return ["ecofed", "run", self.preset, *sets]

    @property
    def finished(self) -> bool:
        """On this machine."""
        return (self.folder / "result.json").exists()


def tune_runs() -> Iterator[Run]:
    """Learning rates from the pre-trained front, normalisation and start at the best of them, the best start again."""
    short = {"rounds": "10", "test_part": "tuning", "test_samples": "2000"}
    for method in ("classic-fl", "lgl", "fedgkt"):
        choices: list[dict[str, str]] = [{"learning_rate": rate} for rate in ("0.003", "0.01", "0.03")]
        choices += [{"normalisation": "frozen"}, {"normalisation": "group", "initialisation": "random"}]
        choices += [{"initialisation": start} for start in ("random", "whole")]
        whole = {"initialisation": "whole"}
        choices += [{**whole, "learning_rate": rate} for rate in ("0.0003", "0.001", "0.003", "0.03")]
        choices += [{**whole, "normalisation": "frozen", "learning_rate": rate} for rate in ("0.01", "0.003")]
        for choice in choices:
            sets = {"method": method, **TUNED[method], "initialisation": "front", **choice, **short}
            yield Run(group="tune", preset=SKEWED, label=_label(method, choice), sets=sets)
    for method, sets in TUNED.items():  # the best rates, as long as the table's runs
        for rate in () if method == "vanilla-dpfl" else ("0.001", "0.003", "0.01"):
            choice = {"learning_rate": rate, "rounds": "50"}
            sets = {"method": method, **sets, **short, **FAST, **choice}
            yield Run(group="tune", preset=SKEWED, label=_label(method, choice), sets=sets)
    for rate in ("0.003", "0.01", "0.03"):
        sets = {"method": "ecofed", "learning_rate": rate, **short}
        yield Run(group="tune", preset=SKEWED, label=f"ecofed learning_rate={rate}", sets=sets)
    for rate in ("0.003", "0.01", "0.03"):
        sets = {**FAITHFUL, "learning_rate": rate, **short}
        yield Run(group="tune", preset=SKEWED, label=f"ecofed (as in the paper) learning_rate={rate}", sets=sets)


def table_runs() -> Iterator[Run]:
    """Five methods and the paper's EcoFed on four presets; three seeds where labels are skewed on VGG11."""
    for preset in (
        SKEWED,
        "cpu-vgg11-cifar10",
        "cpu-resnet9-cifar10-skewed",
        "cpu-resnet9-cifar10",
    ):
        rows = {method: {"method": method, **tuned} for method, tuned in TUNED.items()}
        for seed in (0, 1, 2) if preset == SKEWED else (0,):
            for label, sets in {**rows, "ecofed (as in the paper)": FAITHFUL}.items():
                exact = preset == SKEWED and (seed == 0 or label not in FAST_SEEDS)
                sets = sets if exact else {**sets, **FAST}
                yield Run(group="table", preset=preset, label=label, seed=seed, sets=sets)
    for method in ("classic-fl", "vanilla-dpfl", "lgl"):
        for seed in (0, 1, 2):
            sets = {"method": method, **TUNED[method], **SOONER}
            yield Run(group="table", preset=SKEWED, label=f"{method} (learning rate 0.001)", seed=seed, sets=sets)


def ablation_runs() -> Iterator[Run]:
    """One thing changed at a time, on skewed VGG11, in 30 rounds."""
    for label, sets in ABLATIONS.items():
        sets = {"method": "ecofed", "rounds": "30", **FAST, **sets}
        yield Run(group="ablation", preset=SKEWED, label=label, sets=sets)


def training_runs() -> Iterator[Run]:
    """What the server makes of one view of every image, on skewed VGG11, in 30 rounds."""
    for label, sets in TRAINING.items():
        sets = {"method": "ecofed", "rounds": "30", **FAST, **sets}
        yield Run(group="training", preset=SKEWED, label=label, sets=sets)


#: Half of the devices are Raspberry Pi 3, half Raspberry Pi 5.
MIXED = {"clock.device": "raspberry-pi-3,raspberry-pi-5", "clock.link": "wifi", "rounds": "30"}


def unequal_runs() -> Iterator[Run]:
    """A mixed fleet on skewed VGG11, in 30 rounds: everybody runs the whole front, or the slow ones stop earlier."""
    for label, cuts in (("everybody runs the whole front", "none"), ("weak devices stop early (auto)", "auto")):
        sets = {"method": "ecofed", **MIXED, **FAST, **PERIODIC, "ecofed.device_cuts": cuts}
        yield Run(group="unequal", preset=SKEWED, label=label, sets=sets)


#: Points between bytes and accuracy, and the rivals; what is not said is the default.
POINTS: dict[str, dict[str, str]] = {
    "64 B an image": {"front.name": "vgg11-w0.5-rgb-64b"},
    "128 B an image (tiny-uplink)": {"front.name": "vgg11-w0.5-rgb-128b"},
    "512 B an image": {"front.name": "vgg11-w0.5-rgb-512b"},
    "256 B an image, two views": {"ecofed.views": "2", "ecofed.refresh": "spread"},
    "8 bits, full size, once, before training (one-shot)": {
        "codec.bits": "8",
        "sampled_devices": "100",
        "ecofed.server_steps": "250",
    },
    "4 bits, full size, every 2 rounds (max-accuracy)": PERIODIC,
    "send-images: JPEG quality 75": {"method": "send-images", "initialisation": "whole"},
    "send-images: JPEG quality 20": {"method": "send-images", "initialisation": "whole", "send-images.quality": "20"},
    "closed-form": {"method": "closed-form"},
}

#: As many bytes as the JPEGs, and what it is held against seed by seed.
BALANCED = "352 B an image (balanced)"
UNBOUNDED = "8 bits, full size, every 2 rounds"


def point_runs() -> Iterator[Run]:
    """From few bytes to many, on skewed VGG11."""
    for label, sets in POINTS.items():
        yield Run(group="points", preset=SKEWED, label=label, sets={"method": "ecofed", **FAST, **sets})
    for seed in (0, 1, 2):
        sets = {"method": "ecofed", **FAST, "front.name": "vgg11-w0.5-rgb-352b"}
        yield Run(group="points", preset=SKEWED, label=BALANCED, seed=seed, sets=sets)
        sets = {"method": "ecofed", **PERIODIC, "codec.bits": "8"}
        yield Run(group="points", preset=SKEWED, label=UNBOUNDED, seed=seed, sets=sets)


#: Long training: every row's learning rate falls to zero over it.
LONG = {"rounds": "500", "evaluate_every": "10", **FAST}
LONG_ROWS: dict[str, dict[str, str]] = {
    "classic-fl": {"method": "classic-fl", "classic-fl.schedule": "cosine"},
    "ecofed": {"method": "ecofed"},
    "classic-fl, server momentum": {
        "method": "classic-fl",
        "classic-fl.schedule": "cosine",
        "classic-fl.server": "momentum",
    },
    "ecofed, 352 B an image (balanced)": {"method": "ecofed", "front.name": "vgg11-w0.5-rgb-352b"},
    "ecofed, 8 bits, full size, every 2 rounds": {"method": "ecofed", **PERIODIC, "codec.bits": "8"},
}


def long_runs() -> Iterator[Run]:
    """500 rounds, skewed and IID."""
    for preset in (SKEWED, "cpu-vgg11-cifar10"):
        for label, sets in LONG_ROWS.items():
            tuned = TUNED["classic-fl"] if sets["method"] == "classic-fl" else {}
            yield Run(group="long", preset=preset, label=label, sets={**tuned, **LONG, **sets})


def long_tune_runs() -> Iterator[Run]:
    """classic-fl's remedies against skew, 50 rounds on the tuning images."""
    short = {"rounds": "50", "test_part": "tuning", "test_samples": "2000", "classic-fl.schedule": "cosine", **FAST}
    choices: list[dict[str, str]] = [{"learning_rate": rate} for rate in ("0.003", "0.01", "0.03")]
    servers = {"momentum": ("0.1", "0.3", "1.0"), "adam": ("0.001", "0.003", "0.01")}
    for server, rates in servers.items():
        choices += [{"classic-fl.server": server, "classic-fl.server_learning_rate": rate} for rate in rates]
    for choice in choices:
        sets = {"method": "classic-fl", **TUNED["classic-fl"], **short, **choice}
        yield Run(group="long-tune", preset=SKEWED, label=_label("classic-fl", choice), sets=sets)


GROUPS = {
    "tune": tune_runs,
    "table": table_runs,
    "ablation": ablation_runs,
    "training": training_runs,
    "unequal": unequal_runs,
    "points": point_runs,
    "long": long_runs,
    "long-tune": long_tune_runs,
}

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("list")
def list_runs() -> None:
    """Every run, and whether it is done."""
    for group in GROUPS.values():
        for run in group():
            print("done   " if run.finished or run.name in recorded() else "missing", run.name)


@app.command("run")
def run_group(group: str, jobs: int = 1, only: str = "", precision: str = FAST["precision"]) -> None:
    """Run what is missing in a group, some at a time; ``--precision float32`` where bfloat16 is emulated and slow."""
    known = recorded()
    missing = [r for r in GROUPS[group]() if not r.finished and r.name not in known and re.search(only, r.name)]
    missing = [in_precision(run, precision) for run in missing]
    with ThreadPoolExecutor(jobs) as pool:
        for run, code in zip(missing, pool.map(execute, missing), strict=True):
            print("finished" if code == 0 else f"FAILED ({code})", run.name, flush=True)


def execute(run: Run) -> int:
    """The command's exit status; what it printed is in the run's folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / "log.txt").open("w") as log:
        command = [str(Path(sys.executable).parent / "ecofed"), *run.command[1:], "--out", str(run.folder), "--resume"]
        return subprocess.run(command, stdout=log, stderr=log, check=False).returncode


@app.command()
def write(check: Annotated[bool, typer.Option(help="Fail if the page would change.")] = False) -> None:
    """Take in finished runs, and write the tables between the page's ``<!-- table: NAME -->`` marks."""
    records = recorded()
    for group in GROUPS.values():
        records |= {run.name: record(run) for run in group() if run.finished}
    text = PAGE.read_text(encoding="utf-8")
    text = with_tables(text, _tables(records))
    if check:
        raise typer.Exit(int(text != PAGE.read_text(encoding="utf-8")))
    RECORDS.parent.mkdir(exist_ok=True)
    RECORDS.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """A page with these tables between its marks."""
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        text = re.sub(
            f"{re.escape(begin)}.*?{end}", lambda _, t=table, b=begin, e=end: f"{b}\n{t}\n{e}", text, flags=re.DOTALL
        )
    return text


@app.command()
def picture() -> None:
    """README's picture, where its runs are on this machine; that of bytes against accuracy, from the records."""
    from ecofed.reports.files import read_result
    from ecofed.reports.plots import draw_plots
    from ecofed.reports.plots.frontier import write_frontier_plot
    from ecofed.results import Comparison

    PICTURES.mkdir(exist_ok=True)
    runs = [run for run in table_runs() if run.preset == SKEWED and run.seed == 0 and run.label in TUNED]
    if all(run.finished for run in runs):
        for plot in draw_plots(Comparison(results=[read_result(run.folder) for run in runs])):
            if plot.name == "accuracy-bytes":
                (PICTURES / f"results-{plot.name}.png").write_bytes(plot.png)
    write_frontier_plot(_frontier(recorded()), FLOORS, PICTURES / "results-frontier.png")


#: Of one device: its 500 images as they are (32 x 32 x 3), and as the JPEGs of the data set.
FLOORS = (("raw images", 500 * 3072.0), ("their JPEGs", 150_000.0))


def _frontier(records: Mapping[str, Any]) -> list[PlottedPoint]:
    """Seed 0 of the methods and the points on skewed VGG11."""
    from ecofed.reports.plots.frontier import PlottedPoint

    found: dict[str, tuple[str, float, float]] = {}
    for group in ("table", "points"):
        for run in GROUPS[group]():
            if run.preset == SKEWED and run.seed == 0 and run.name in records and "(learning rate" not in run.label:
                record = records[run.name]
                label = f"{run.label} (default)" if run.label == "ecofed" else run.label
                method = run.sets.get("method", "ecofed")
                found[label] = (method, record["bytes"] / DEVICES, record["accuracy"])
    return [
        PlottedPoint(
            label=label,
            method=method,
            bytes_per_device=size,
            accuracy=accuracy,
            efficient=not any(s <= size and a >= accuracy and (s, a) != (size, accuracy) for _, s, a in found.values()),
        )
        for label, (method, size, accuracy) in found.items()
    ]


def recorded() -> dict[str, Any]:
    """Runs that the project holds figures of, by name; delete one from the file to have it run again."""
    return json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}


def in_precision(run: Run, precision: str) -> Run:
    """The same run with another arithmetic, where it names one."""
    return replace(run, sets={**run.sets, "precision": precision}) if "precision" in run.sets else run


def record(run: Run) -> dict[str, Any]:
    """What is kept of a finished run; its command names the arithmetic that it was trained with."""
    result = json.loads((run.folder / "result.json").read_text(encoding="utf-8"))
    run = in_precision(run, result["config"]["precision"])
    totals = result["totals"]
    return {
        "command": " ".join(run.command),
        "commit": result["git_commit"],
        "seed": run.seed,
        "preset": run.preset,
        "label": run.label,
        "accuracy": totals["final_test_accuracy"],
        "bytes": totals["uplink_bytes"] + totals["downlink_bytes"],
        "simulated_seconds": totals["simulated_seconds"],
        "rounds": _curve(result["rounds"]),
        "data": result["data"]["name"],
        "test_samples": result["data"]["test_samples"],
        "processor": result["environment"]["processor"],
    }


def _curve(rounds: list[dict[str, Any]]) -> list[list[float | None]]:
    """Of every evaluation: round, accuracy, bytes and simulated seconds since the start."""
    curve: list[list[float | None]] = []
    moved, seconds = 0, 0.0
    for one in rounds:
        moved += one["uplink_bytes"] + one["downlink_bytes"]
        seconds += one["simulated_seconds"] or 0.0
        if one["test_accuracy"] is not None:
            curve.append([one["round"], round(one["test_accuracy"], 5), moved, round(seconds, 2)])
    return curve


def _tables(records: Mapping[str, Any]) -> dict[str, str]:
    presets = dict.fromkeys(run.preset for run in table_runs())
    tables = {preset: _table(records, "table", preset) for preset in presets}
    tables |= {group: _table(records, group, SKEWED) for group in GROUPS if group != "table"}
    return tables | {"long-iid": _table(records, "long", "cpu-vgg11-cifar10"), "paper-bytes": _paper_bytes()}


def _paper_bytes() -> str:
    """Bytes of the whole training in the paper's setting; the planner's are those of the ledger."""
    from ecofed.config import Settings
    from ecofed.config.methods import PAPER_METHODS
    from ecofed.data import load_dataset
    from ecofed.planning.planner import plan_run
    from ecofed.reports.units import human_bytes, times

    load_dataset("cifar10")  # without the images the planner would give upper bounds
    paper, ours = "paper-vgg11-cifar10", "paper-vgg11-cifar10-thrifty"
    tiny = "--set front.name=vgg11-w1-rgb-128b"
    rows = [(method, paper, "") for method in PAPER_METHODS[:-1]] + [("ecofed (as in the paper)", paper, "")]
    rows += [("ecofed, 256 B an image", ours, ""), ("ecofed, 128 B an image", ours, tiny)]
    total: dict[str, int] = {}
    lines = [
        "| | bytes of the whole training | classic-fl's over these | vanilla-dpfl's over these | planned by |",
        "|---|--:|--:|--:|---|",
    ]
    for label, preset, words in rows:
        settings = Settings.load(preset, [words.removeprefix("--set ")] if words else [])
        row = plan_run(settings.for_method(re.split("[ ,]", label)[0]))
        size = total[label] = row.total_uplink_bytes + row.total_downlink_bytes
        ratios = [times(total[other] / size) if other in total else "-" for other in ("classic-fl", "vanilla-dpfl")]
        command = f"ecofed plan {preset} {words}".strip()
        lines.append(f"| {label} | {human_bytes(size)} | {ratios[0]} | {ratios[1]} | `{command}` |")
    return "\n".join(lines)


def _table(records: Mapping[str, Any], group: str, preset: str) -> str:
    from ecofed.reports.units import human_seconds

    rows: dict[str, list[dict[str, Any]]] = {}
    for run in GROUPS[group]():
        if run.preset == preset and run.name in records:
            rows.setdefault(run.label, []).append(records[run.name])
    if not rows:
        return "Not run yet."
    rivals = [run for run in table_runs() if run.preset == preset and run.label == "classic-fl" and run.name in records]
    comparable = group in ("table", "points")  # the others have fewer rounds
    classic = mean(records[run.name]["bytes"] for run in rivals) if rivals and comparable else None
    lines = [
        "| | accuracy | bytes | classic-fl's bytes over these | simulated time | seeds | command, commit |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for label, runs in rows.items():
        total = mean(row["bytes"] for row in runs)
        ratio = f"{classic / total:,.1f}x" if classic else "-"
        cells = (
            label,
            interval([row["accuracy"] for row in runs]),
            f"{total / 1e6:,.1f} MB",
            ratio,
            human_seconds(mean(row["simulated_seconds"] for row in runs)),
            str(len(runs)),
        )
        lines.append(f"| {' | '.join(cells)} | `{runs[0]['command']}` {(runs[0]['commit'] or '-')[:9]} |")
    return "\n".join(lines)


#: Two-sided 95 % quantiles of Student's t for n - 1 degrees of freedom.
_T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}


def interval(values: list[float]) -> str:
    """Mean, with a 95 % confidence interval (Student's t) where there are several seeds."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    if len(set(values)) == 1:  # of what draws nothing: no interval of chance
        return f"{values[0]:.3f} (every seed)"
    return f"{mean(values):.3f} ± {half_width(values):.3f}"


def half_width(values: list[float]) -> float:
    """Of a 95 % confidence interval of the mean (Student's t)."""
    return _T[len(values)] * stdev(values) / len(values) ** 0.5


def _label(method: str, choice: Mapping[str, str]) -> str:
    return " ".join([method, *(f"{key}={value}" for key, value in choice.items())])


if __name__ == "__main__":
    app()
