"""The runs behind docs/results-again.md: tuning, forgetting, and devices that join, on the buffer that a run has kept.

    python benchmarks/learn_again.py list              every command, and whether it is done
    python benchmarks/learn_again.py run               what is missing, one after the other (resumes what was cut off)
    python benchmarks/learn_again.py write             docs/results/again.json, the page's tables and its picture

Needs CIFAR-10 where ``ecofed data list`` finds it. A step is one ``ecofed`` command; its folder is ``runs/again/NAME``.
What it took is processor time, which other programs on the machine do not change much.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import results
import typer
from results import ROOT

from ecofed import __version__
from ecofed.runs.environment import describe_environment, git_commit

FOLDER = Path("runs") / "again"
"""Below the folder in which the script is run."""
RECORDS = ROOT / "docs" / "results" / "again.json"
PAGE = ROOT / "docs" / "results-again.md"
SEEDS = (0, 1, 2)

#: The CPU tier of docs/results.md for a fifth of its rounds: every device uploads in the first, and each has as many
#: steps as there.
SHORT = {
    "precision": "bfloat16",
    "threads": "1",
    "rounds": "10",
    "evaluate_every": "10",
    "sampled_devices": "100",
    "ecofed.server_steps": "250",
    "keep_buffer": "true",
}
TRIALS = 30
#: Of every trial: half of a run's steps, and the same network.
TRIED = {"ecofed.server_steps": "125", "model.head_width": "512"}
#: Thrice as many steps, to see whether a gain lasts.
LONGER = {"rounds": "30", "evaluate_every": "30"}
#: Who is forgotten, by how many.
FORGOTTEN = {1: (7,), 10: tuple(range(10))}

#: Devices that come first, and the classes that only the others bring.
FIRST, LATE_CLASSES = 50, ("deer", "truck")
DATA = FOLDER / "data"
DIVIDED = {"data.partition": "column", "data.device_column": "device"}

NOT_RUN = "Not run yet."
#: Of the search's trials, beside the defaults.
SHOWN = 5

app = typer.Typer(add_completion=False, no_args_is_help=True)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command.

    Attributes:
        words: the command, without ``ecofed``, ``--out`` and ``--resume``.
        copied: the folder that the command changes is a copy of this one.
    """

    name: str
    seed: int
    words: Sequence[str]
    copied: str | None = None

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def command(self) -> list[str]:
        return ["ecofed", *self.words, "--out", str(self.folder)]

    @property
    def took(self) -> Path:
        """What it took, and with which versions: written when it is done."""
        return FOLDER / f"{self.name}.json"


def steps() -> Iterator[Step]:
    """In the order in which they need each other."""
    for seed in SEEDS:
        yield _run(f"run-seed{seed}", seed, {})
    yield from (_forget(count, SEEDS[0]) for count in FORGOTTEN)
    yield from _join(SEEDS[0])
    words = ("tune", _in("run-seed0"), "--trials", str(TRIALS), "--held-out", "0.1", "--workers", "1", *_sets(TRIED))
    yield Step(name="tune", seed=0, words=words)
    for seed in SEEDS:
        yield Step(name=f"tuned-seed{seed}", seed=seed, words=("retrain", _in(f"run-seed{seed}"), *_sets(_best())))
    for label, sets in {"tuned": _best(), "defaults": {}, "slower": {"learning_rate": "0.003"}}.items():
        yield Step(name=f"longer-{label}", seed=0, words=("retrain", _in("run-seed0"), *_sets({**LONGER, **sets})))
    yield from (_forget(count, seed) for seed in SEEDS[1:] for count in FORGOTTEN)


def _run(name: str, seed: int, sets: Mapping[str, str]) -> Step:
    words = ("run", results.SKEWED, *_sets({**SHORT, **sets, "seed": str(seed)}))
    return Step(name=name, seed=seed, words=words)


def _forget(count: int, seed: int) -> Step:
    devices = ",".join(map(str, FORGOTTEN[count]))
    words = ("forget", _in(f"forgetful-{count}-seed{seed}"), "--device", devices, "--by", "benchmark")
    return Step(name=f"forgot-{count}-seed{seed}", seed=seed, words=words, copied=f"run-seed{seed}")


def _join(seed: int) -> Iterator[Step]:
    first = {**DIVIDED, "data.name": str(DATA / "first"), "devices": str(FIRST), "sampled_devices": str(FIRST)}
    whole = {**DIVIDED, "data.name": str(DATA / "all")}
    more = _sets({"data.name": whole["data.name"], "devices": "100", "sampled_devices": "100"})
    yield _run(f"first-seed{seed}", seed, first)
    for label, words in (("anew", ()), ("from-back", ("--from-back",))):
        yield Step(
            name=f"joined-{label}-seed{seed}", seed=seed, words=("update", _in(f"first-seed{seed}"), *words, *more)
        )
    yield _run(f"all-seed{seed}", seed, whole)


def _in(name: str) -> str:
    return str(FOLDER / name)


def _sets(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(word for key, value in values.items() for word in ("--set", f"{key}={value}"))


def _best() -> dict[str, Any]:
    """What the search found, once it has."""
    if "tune" in (known := recorded()):
        return dict(known["tune"]["best"]["settings"])
    place = FOLDER / "tune" / "tuning.json"
    found = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
    return dict(found.get("best", {}).get("settings", {}))


@app.command("list")
def list_steps() -> None:
    """Every command, and whether it is done."""
    known = recorded()
    for step in steps():
        print("done   " if step.took.exists() or step.name in known else "missing", step.name, *step.command)


@app.command("run")
def run_steps(only: str = "") -> None:
    """Run what is missing."""
    known = recorded()
    names = [step.name for step in steps() if re.search(only, step.name)]
    for name in names:
        step = next(step for step in steps() if step.name == name)  # what tuning found is in later commands
        if step.took.exists() or name in known:
            continue
        print(*step.command, flush=True)
        if code := _execute(step):
            print(f"FAILED ({code})", name, flush=True)
            raise typer.Exit(code)


def _execute(step: Step) -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    if any(str(DATA) in word for word in step.words):
        _write_data()
    if step.copied is not None and not Path(step.words[1]).exists():
        half = FOLDER / "half-copied"
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(FOLDER / step.copied, half)
        half.rename(step.words[1])
    partly = step.took.with_suffix(".part")  # of earlier attempts, which --resume continues
    seconds = json.loads(partly.read_text("utf-8"))["processor_seconds"] if partly.exists() else 0.0
    with (FOLDER / f"{step.name}.log").open("a") as log:
        command = [str(Path(sys.executable).parent / "ecofed"), *step.command[1:], "--resume"]
        began = _processor_seconds()
        code = subprocess.run(command, stdout=log, stderr=log, check=False).returncode
    environment = describe_environment(1, "cpu")
    took = {
        "processor_seconds": round(seconds + _processor_seconds() - began, 1),
        "commit": git_commit(),
        "processor": environment["processor"],
        "versions": {"ecofed": __version__, "python": environment["python"], **environment["packages"]},
    }
    partly.write_text(json.dumps(took), "utf-8")
    if code == 0:
        partly.rename(step.took)
    return code


def _processor_seconds() -> float:
    """Of the programs that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _write_data() -> None:
    """CIFAR-10 on 100 devices, 500 images each: five shards of its half's images, which are sorted by class.

    The late classes are in the last 50 devices only. ``all`` has everything, ``first`` the first 50 devices, and the
    test images of their classes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from ecofed.data.known import CIFAR10
    from ecofed.data.places import find

    if DATA.exists():
        return
    found, message = find("cifar10")
    if found is None or found.path is None:
        raise SystemExit(message)
    draws = np.random.default_rng(0)
    train = pq.read_table(found.path / "train.parquet")
    label_N = train["label"].to_numpy()
    late = np.isin(np.array(CIFAR10)[label_N], LATE_CLASSES)
    mixed = draws.permutation(len(label_N))
    is_first = np.zeros(len(label_N), bool)
    is_first[mixed[~late[mixed]][: FIRST * 500]] = True
    device_N = np.empty(len(label_N), np.int64)
    for offset, half in ((0, is_first), (FIRST, ~is_first)):
        own = np.flatnonzero(half)
        shards = own[np.argsort(label_N[own], kind="stable")].reshape(FIRST * 5, -1)
        device_N[shards] = offset + (draws.permutation(FIRST * 5) // 5)[:, None]
    names = pa.array(CIFAR10)
    half_written = DATA.with_name("half-written")
    for folder in ("first", "all"):
        (half_written / folder).mkdir(parents=True, exist_ok=True)
        for part in ("train", "test"):
            table = pq.read_table(found.path / f"{part}.parquet")
            columns = {"img": table["img"], "label": names.take(table["label"].combine_chunks())}
            kept = pc.invert(pc.is_in(columns["label"], pa.array(LATE_CLASSES)))
            if part == "train":
                columns["device"], kept = pa.array(device_N), pa.array(device_N < FIRST)
            written = pa.table(columns)
            pq.write_table(
                written.filter(kept) if folder == "first" else written, half_written / folder / f"{part}.parquet"
            )
    half_written.rename(DATA)


def recorded() -> dict[str, Any]:
    """Steps that the project holds figures of, by name; delete one from the file to have it run again."""
    return json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}


@app.command()
def write(check: Annotated[bool, typer.Option(help="Fail if the page would change.")] = False) -> None:
    """Take in finished steps; write the tables between the page's ``<!-- table: NAME -->`` marks, and the picture."""
    records = recorded() | {step.name: _record(step) for step in steps() if step.took.exists()}
    tables = {
        "tune": _tuning(records),
        "trials": _trials(records),
        "longer": _longer(records),
        "forget": _forgetting(records),
        "join": _joining(records),
    }
    text = results.with_tables(PAGE.read_text(encoding="utf-8"), tables)
    if check:
        raise typer.Exit(int(text != PAGE.read_text(encoding="utf-8")))
    RECORDS.write_text(json.dumps(records, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")
    if "tune" in records:
        _draw(records["tune"])


def _record(step: Step) -> dict[str, Any]:
    """What is kept of a finished step."""
    kept = {"command": " ".join(step.command), "seed": step.seed, **json.loads(step.took.read_text("utf-8"))}
    found = step.folder / "tuning.json"
    if found.exists():
        tuning = json.loads(found.read_text("utf-8"))
        own = ("best", "trials", "importance", "held_out", "classic_bytes", "uplink_bytes", "downlink_bytes")
        return kept | {name: tuning[name] for name in own}
    result = json.loads((step.folder / "result.json").read_text("utf-8"))
    totals, test = result["totals"], result["scores"]["test"]
    names = ("uplink_bytes", "downlink_bytes", "simulated_seconds", "final_test_accuracy")
    return {
        **kept,
        **({} if step.copied is None else {"forgotten_labels": _labels_of(step)}),
        **{name: totals[name] for name in names},
        "accuracy": test["accuracy"],  # of the last round's network
        "data": result["data"]["name"],
        "classes": result["data"]["classes"],
        "class_samples": test["class_samples"],
        "class_right": test["class_right"],
    }


def _labels_of(step: Step) -> list[int]:
    """How many of which label the forgotten devices had."""
    assert step.copied is not None
    result = json.loads((FOLDER / step.copied / "result.json").read_text("utf-8"))
    counts = result["data"]["label_counts"]
    devices = map(int, step.words[step.words.index("--device") + 1].split(","))
    return [sum(column) for column in zip(*(counts[device] for device in devices), strict=True)]


def _tuning(records: Mapping[str, Any]) -> str:
    seeds = [seed for seed in SEEDS if f"tuned-seed{seed}" in records]
    if not seeds:
        return NOT_RUN
    lines = ["| | " + " | ".join(f"seed {seed}" for seed in seeds) + " | mean | command, commit |"]
    lines.append("|---|" + "--:|" * (len(seeds) + 1) + "---|")
    for label, name in (("the defaults", "run"), ("what the search found", "tuned")):
        rows = [records[f"{name}-seed{seed}"] for seed in seeds]
        values = [row["accuracy"] for row in rows]
        cells = [label, *(f"{value:.4f}" for value in values), results.interval(values)]
        lines.append(f"| {' | '.join(cells)} | {_command(rows[0])} |")
    judged = {"gain in points": "accuracy", "the same, of the mean of the last five rounds": "final_test_accuracy"}
    for label, figure in judged.items():
        gains = [100 * (records[f"tuned-seed{seed}"][figure] - records[f"run-seed{seed}"][figure]) for seed in seeds]
        spread = f" ± {results.half_width(gains):.1f}" if len(gains) > 1 else ""
        lines.append(f"| {label} | {' | '.join(f'{gain:+.1f}' for gain in gains)} | {mean(gains):+.1f}{spread} | |")
    return "\n".join(lines)


def _longer(records: Mapping[str, Any]) -> str:
    lines = ["| | last network | mean of the last five rounds | command, commit |", "|---|--:|--:|---|"]
    rows = {"the defaults": "defaults", "what the search found": "tuned", "learning rate 0.003 alone": "slower"}
    for label, name in rows.items():
        if (row := records.get(f"longer-{name}")) is not None:
            cells = (f"{row['accuracy']:.4f}", f"{row['final_test_accuracy']:.4f}", _command(row))
            lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else NOT_RUN


def _trials(records: Mapping[str, Any]) -> str:
    """The search's best, and what as much would have cost."""
    if "tune" not in records:
        return NOT_RUN
    tuning = records["tune"]
    ranked = sorted(tuning["trials"], key=lambda trial: -(trial["accuracy"] or 0.0))
    keys = list(ranked[0]["settings"] or ranked[1]["settings"])
    lines = ["| place | held-out accuracy | " + " | ".join(f"`{key}`" for key in keys) + " |"]
    lines.append("|--:|--:|" + "--:|" * len(keys))
    for place, trial in enumerate(ranked, 1):
        if place <= SHOWN or not trial["settings"]:
            cells = [str(trial["settings"].get(key, "default")) for key in keys]
            accuracy = "diverged" if trial["accuracy"] is None else f"{trial['accuracy']:.4f}"
            lines.append(f"| {place} | {accuracy} | {' | '.join(cells)} |")
    count, moved = len(tuning["trials"]), tuning["uplink_bytes"] + tuning["downlink_bytes"]
    lines += ["", f"Command: {_command(tuning)}, {tuning['processor_seconds'] / 60:,.0f} minutes of one core.", ""]
    lines += ["| | bytes from and to devices |", "|---|--:|", f"| these {count} trials | {moved} |"]
    for label, rounds in (("classic-fl, as many rounds of 10 devices", 10), ("classic-fl, its 50 rounds", 50)):
        lines.append(
            f"| {count} trials of {label} (by `{_plan(rounds)[0]}`) | {_plan(rounds)[1] * count / 1e9:,.1f} GB |"
        )
    return "\n".join(lines)


def _plan(rounds: int) -> tuple[str, int]:
    """What the tier's classic-fl moves in so many rounds, by arithmetic."""
    from ecofed.config import Settings
    from ecofed.planning.planner import plan_run

    words = ["method=classic-fl", f"rounds={rounds}"]
    row = plan_run(Settings.load(results.SKEWED, words).for_method("classic-fl"))
    command = f"ecofed plan {results.SKEWED} {' '.join(f'--set {word}' for word in words)}"
    return command, row.total_uplink_bytes + row.total_downlink_bytes


def _forgetting(records: Mapping[str, Any]) -> str:
    from ecofed.reports.units import human_seconds

    lines = [
        "| forgotten | seed | accuracy before, after | on their own classes before, after | bytes: forgetting, new run "
        "| processor time | simulated time | command, commit |",
        "|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for step in steps():
        if step.copied is None or step.name not in records:
            continue
        before, after = records[step.copied], records[step.name]
        weights = np.array(after["forgotten_labels"])
        own = [weights @ np.divide(row["class_right"], row["class_samples"]) / weights.sum() for row in (before, after)]
        count = len(step.words[step.words.index("--device") + 1].split(","))
        cells = (
            f"{count} of 100",
            str(step.seed),
            f"{before['accuracy']:.3f}, {after['accuracy']:.3f}",
            f"{own[0]:.3f}, {own[1]:.3f}",
            f"{_moved(after)}, {_moved(before) / 1e6:,.1f} MB",
            f"{after['processor_seconds']:,.0f} s, {before['processor_seconds']:,.0f} s",
            f"{human_seconds(after['simulated_seconds'])}, {human_seconds(before['simulated_seconds'])}",
            _command(after),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else NOT_RUN


#: Of devices that join: rows of the table.
JOINED = {
    "50 devices, eight classes": "first",
    "`update`: 50 more devices, trained anew": "joined-anew",
    "`update --from-back`: the same, from the first network": "joined-from-back",
    "all 100 from the start": "all",
}


def _joining(records: Mapping[str, Any]) -> str:
    lines = [
        "| | accuracy, ten classes | on the eight | on the two new ones | bytes of this step | bytes altogether "
        "| command, commit |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for label, name in JOINED.items():
        row = records.get(f"{name}-seed0")
        if row is None:
            continue
        late = np.isin(row["classes"], LATE_CLASSES)
        right, samples = np.array(row["class_right"]), np.array(row["class_samples"])
        before = _moved(records["first-seed0"]) if name.startswith("joined") else 0
        cells = (
            label,
            f"{right.sum() / samples.sum():.4f}" if late.any() else "-",
            f"{right[~late].sum() / samples[~late].sum():.4f}" + ("" if late.any() else " (of eight)"),
            f"{right[late].sum() / samples[late].sum():.4f}" if late.any() else "-",
            f"{_moved(row) / 1e6:,.2f} MB",
            f"{(before + _moved(row)) / 1e6:,.2f} MB",
            _command(row),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else NOT_RUN


def _draw(tuning: Mapping[str, Any]) -> None:
    """Held-out accuracy of every trial over its learning rate, by how long weights are averaged."""
    from matplotlib.figure import Figure

    from ecofed.reports import theme
    from ecofed.reports.plots.style import drawing, png

    with drawing("trials"):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        trials = [trial for trial in tuning["trials"] if trial["settings"] and trial["accuracy"]]
        for values, colour, marker in (((0.99, 0.998), theme.INK, "o"), ((0.0, 0.9), theme.MUTED, "x")):
            own = [trial for trial in trials if trial["settings"]["ecofed.ema"] in values]
            rates = [trial["settings"]["learning_rate"] for trial in own]
            label = f"EMA {', '.join(f'{value:g}' for value in values)}"
            axes.scatter(rates, [trial["accuracy"] for trial in own], marker=marker, color=colour, label=label)
        default = next(trial for trial in tuning["trials"] if not trial["settings"])
        axes.scatter([0.01], [default["accuracy"]], marker="*", s=140, color="#0f8560", label="the defaults (EMA 0)")
        ticks = [0.001, 0.003, 0.01, 0.03]
        axes.set(xscale="log", xlabel="learning rate", ylabel="accuracy on held-out samples")
        axes.set_xticks(ticks, [str(rate) for rate in ticks])
        axes.set_xticks([], minor=True)
        axes.legend()
        (results.PICTURES / "again-trials.png").write_bytes(png(figure))


def _moved(record: Mapping[str, Any]) -> int:
    return int(record["uplink_bytes"] + record["downlink_bytes"])


def _command(record: Mapping[str, Any]) -> str:
    return f"`{record['command']}` {(record['commit'] or '-')[:9]}"


if __name__ == "__main__":
    app()
