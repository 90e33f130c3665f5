"""The audits behind docs/results-privacy.md: what uploads give away, at which bits, cuts and sizes.

    python benchmarks/audit.py run [--only PATTERN]      the audits that are missing, one after the other
    python benchmarks/audit.py probe [--only PATTERN]    the linear probes that are missing
    python benchmarks/audit.py train [--only PATTERN]    the accuracies of runs beside them that are missing
    ecofed pretrain --start vgg11-w0.5-rgb --width 0.5 --channels 16 --bits 2 --epochs 2 --limit 40000 --threads 1 \\
        --adversary W --probe cifar10 --out runs/against-W.safetensors        for each weight W of an adversary
    python benchmarks/audit.py write                     docs/results/privacy.json, the page's tables, plot and pictures

Needs CIFAR-10 and TrashNet where ``ecofed data list`` finds them. An audit of 32-pixel images takes two to five minutes
of one core, one of photographs about ten; a run of the preset ``private`` two to three.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs" / "audits"
RECORDS = ROOT / "docs" / "results" / "privacy.json"
RUNS = ROOT / "docs" / "results" / "privacy-runs.json"
AUDITED = ROOT / "src" / "ecofed" / "pretraining" / "audited.json"
PAGE = ROOT / "docs" / "results-privacy.md"
PLOT = ROOT / "docs" / "images" / "privacy-leakage.png"

STRONGEST = "white-box"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One ``ecofed audit``."""

    table: str
    label: str
    preset: str
    sets: Mapping[str, str]
    options: Mapping[str, str]
    probe: str = ""
    """Its row in docs/results/fronts.json, for the accuracy of a linear probe on the same codes."""
    run: str = ""
    """The command of the run whose accuracy stands beside it."""

    @property
    def name(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.table} {self.label}".lower()).strip("-")

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def command(self) -> list[str]:
        words = ["audit", self.preset]
        words += [word for key, value in self.sets.items() for word in ("--set", f"{key}={value}")]
        return words + [word for key, value in self.options.items() for word in (key, value)]


_ONE = {"--attacks": STRONGEST, "--passes": "2500"}
_CIFAR = "cpu-vgg11-cifar10"
_OTHER_FRONTS = {
    "vgg11-w1-rgb": (_CIFAR, {"model.width": "1"}, 4),
    "vgg11-w1-rgb-256b": (_CIFAR, {"model.width": "1"}, 2),
    "vgg11-w1-rgb-128b": (_CIFAR, {"model.width": "1"}, 2),
    "alexnet-w1-rgb": (_CIFAR, {"model.name": "alexnet", "model.width": "1"}, 4),
    "lenet-w1-rgb": (_CIFAR, {"model.name": "lenet", "model.width": "1"}, 4),
    "vgg11-w0.25-grey": ("quickstart", {}, 4),
    "vgg11-w0.25-grey-256b": ("quickstart", {}, 2),
    "vgg11-w0.5-grey": ("quickstart", {"model.width": "0.5"}, 4),
    "lenet-w1-grey": ("quickstart", {"model.name": "lenet", "model.width": "1"}, 4),
}
"""Shipped fronts beside those of "sizes": what is attacked with them, and bits. ResNet9's are VGG-11's (see _twins)."""
_SUMS = {"--attacks": "black-box-4096", "--passes": "0", "--images": "64"}
_SENDS = {"class-means": "class means", "second-moments": "second moments"}
_PHOTOS = {"data.name": "trashnet", "threads": "1"}
_WEEDS = {
    "data.name": "deepweeds",
    "data.partition": "column",
    "data.device_column": "client",
    "devices": "99",
    "sampled_devices": "99",
    "threads": "1",
}
_LITE = {
    "model.name": "efficientnet-lite0",
    "model.width": "1",
    "model.image_size": "32",
    "model.head_width": "none",
    "codec.name": "minmax",
    "codec.bits": "8",
}


def settings() -> list[Setting]:
    """In the order in which they are made."""
    every = [
        Setting(table="attackers", label="paper", preset="paper-vgg11-cifar10", sets={}, options={"--passes": "4000"})
    ]
    every += [
        Setting(
            table="bits",
            label=f"{bits} bits",
            preset="cpu-vgg11-cifar10",
            sets={"front.name": "vgg11-w0.5-rgb", "codec.bits": str(bits)},
            options=_ONE,
            probe=f"vgg11-w0.5-rgb, {bits} bit",
        )
        for bits in (8, 1, 2, 4)
    ]
    every += [
        Setting(
            table="sizes",
            label=f"{size} B",
            preset="cpu-vgg11-cifar10",
            sets={"front.name": f"vgg11-w0.5-rgb-{size}b", "codec.bits": "2"},
            options=_ONE,
            probe=f"vgg11-w0.5-rgb-{size}b, 2 bit",
        )
        for size in (256, 64, 512, 128, 352)
    ]
    every += [
        Setting(
            table="fronts",
            label=name,
            preset=preset,
            sets={**sets, "front.name": name, "codec.bits": str(bits)},
            options=_ONE,
            probe=f"{name}, {bits} bit",
        )
        for name, (preset, sets, bits) in _OTHER_FRONTS.items()
    ]
    every += [
        Setting(
            table="noise",
            label=f"256 B, epsilon {epsilon}",
            preset="cpu-vgg11-cifar10",
            sets={"front.name": "vgg11-w0.5-rgb-256b", "codec.bits": "2", "privacy.epsilon": str(epsilon)},
            options=_ONE,
        )
        for epsilon in (8, 100)
    ]
    every += [
        Setting(
            table="cuts",
            label=f"after {cut}",
            preset="cpu-vgg11-cifar10",
            sets={**_LITE, "model.cut": cut},
            options=_ONE,
        )
        for cut in ("block3", "block5", "block11")
    ]
    every += [
        Setting(
            table="sums",
            label=f"{title}, " + ("no noise" if epsilon == "none" else f"epsilon {epsilon}"),
            preset="private",
            sets={"closed-form.sends": sends, "privacy.epsilon": epsilon, "threads": "1"},
            options=_SUMS,
            run=f"ecofed run private --set closed-form.sends={sends} --set privacy.epsilon={epsilon} --set seed=0",
        )
        for sends, title in _SENDS.items()
        for epsilon in ("none", "8", "2", "1")
    ]
    every += [
        Setting(
            table="adversary",
            label=f"256 B, weight {weight}",
            preset="cpu-vgg11-cifar10",
            sets={"front.name": f"runs/against-{weight}.safetensors", "codec.bits": "2", "threads": "1"},
            options={"--attacks": "black-box-4096", "--passes": "1000", "--images": "64"},
        )
        for weight in (0, 1)
    ]
    every += [
        Setting(
            table="photos",
            label=label,
            preset="photos",
            sets=sets,
            options={"--attacks": "black-box-4096", "--images": "64", "--passes": "320"},
        )
        for label, sets in (
            ("512 B (preset photos)", _PHOTOS),
            ("256 B", {**_PHOTOS, "front.bytes_per_image": "256"}),
            ("128 B", {**_PHOTOS, "front.bytes_per_image": "128"}),
            ("DeepWeeds (preset photos)", _WEEDS),
        )
    ]
    return every


app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("run")
def run_missing(only: str = "") -> None:
    """The audits that are missing."""
    known = _load()
    for setting in settings():
        done = setting.name in known or (setting.folder / "audit.json").exists()
        if done or not re.search(only, setting.name):
            continue
        setting.folder.mkdir(parents=True, exist_ok=True)
        log = FOLDER / f"{setting.name}.log"
        words = [*setting.command, "--out", str(setting.folder), "--resume"]
        with log.open("w") as file:
            command = [sys.executable, "-m", "ecofed", *words]
            code = subprocess.run(command, stdout=file, stderr=file, check=False, cwd=ROOT).returncode
        print("finished" if code == 0 else f"FAILED ({code})", setting.name, flush=True)


@app.command()
def probe(only: str = "") -> None:
    """Of audits without one, what a linear classifier reads from the uploads: the audit's own step, by itself."""
    from ecofed.auditing.probing import probed
    from ecofed.auditing.steps import Workbench
    from ecofed.auditing.target import target_of
    from ecofed.runs.environment import git_commit

    known = _load()
    for setting in settings():
        command = " ".join(["ecofed", *setting.command])
        has = setting.probe or setting.run or command in _runs() or (known.get(setting.name) or {}).get("probe")
        if has or not re.search(only, setting.name):
            continue
        target = target_of(setting.preset, [f"{key}={value}" for key, value in setting.sets.items()], print)
        found = probed(Workbench(target, images=12, passes=0, unlike="fractals", seed=0))
        row = {"probe": found.accuracy, "commit": git_commit()}
        RUNS.write_text(json.dumps(_runs() | {command: row}, indent=1) + "\n", encoding="utf-8")
        print(setting.name, found, flush=True)


@app.command()
def train(only: str = "") -> None:
    """The runs whose accuracies are missing."""
    for setting in settings():
        if not setting.run or setting.run in _runs() or not re.search(only, setting.name):
            continue
        folder = FOLDER / f"{setting.name}-run"
        words = [*setting.run.split()[1:], "--set", "threads=1", "--out", str(folder), "--resume"]
        subprocess.run([sys.executable, "-m", "ecofed", *words], check=True, cwd=ROOT)
        found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        row = {
            "accuracy": found["totals"]["final_test_accuracy"],
            "uplink_bytes": found["totals"]["uplink_bytes"],
            "commit": found["git_commit"],
        }
        RUNS.write_text(json.dumps(_runs() | {setting.run: row}, indent=1) + "\n", encoding="utf-8")


def _runs() -> dict[str, Any]:
    """By command."""
    found: dict[str, Any] = json.loads(RUNS.read_text(encoding="utf-8")) if RUNS.exists() else {}
    return found


@app.command()
def write() -> None:
    """Take in finished audits; write the tables between the page's marks, the plot and the pictures."""
    records = _load()
    records |= {each.name: _record(each) for each in settings() if (each.folder / "audit.json").exists()}
    RECORDS.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    RECORDS.parent.mkdir(exist_ok=True)
    text = PAGE.read_text(encoding="utf-8")
    tables = {"attackers": _attackers(records), "sums": _sums(records)}
    tables |= {
        name: _table(records, name) for name in ("bits", "sizes", "fronts", "cuts", "noise", "adversary", "photos")
    }
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        pattern = f"{re.escape(begin)}.*?{end}"
        text = re.sub(pattern, lambda _, t=table, b=begin, e=end: f"{b}\n{t}\n{e}", text, flags=re.DOTALL)
    PAGE.write_text(text, encoding="utf-8")
    _plot(records)
    _grids()
    audited = [
        row
        for each in settings()
        if each.table in ("bits", "sizes", "fronts") and each.name in records
        for row in _audited(each, records[each.name])
    ]
    known = json.dumps({"schema": "ecofed-audited/1", "fronts": audited}, indent=1)
    AUDITED.write_text(known + "\n", encoding="utf-8")


def _audited(setting: Setting, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the package says of a shipped front, and of those that compute the same for another network."""
    row = _strongest(record)
    return [
        {
            "name": name,
            "front": front,
            "bits": int(setting.sets["codec.bits"]),
            "data": record["data"],
            "ssim": round(row["ssim"], 4),
            "reidentified": row["reidentified"],
            "images": record["images"],
            "command": record["command"],
            "commit": record["commit"],
        }
        for name, front in _same(setting.sets["front.name"])
    ]


@cache
def _computing() -> dict[str, tuple[str, bytes]]:
    """Of the shipped fronts, by name: the id, and what devices compute."""
    from ecofed.pretraining.shipped import shipped_fronts

    found = {}
    for shipped in shipped_fronts():
        bundle = shipped.load()
        bare = replace(bundle.for_device(), model="vgg11")
        found[shipped.name] = (bundle.id, bare.encode())
    return found


def _same(name: str) -> list[tuple[str, str]]:
    """The shipped front of that name, then those with its weights, with their ids: the blocks before the cut are the
    same in VGG-11 and ResNet9."""
    (_, computes), known = _computing()[name], _computing()
    names = [name, *(other for other, (_, own) in known.items() if own == computes and other != name)]
    return [(each, known[each][0]) for each in names]


def _record(setting: Setting) -> dict[str, Any]:
    found = json.loads((setting.folder / "audit.json").read_text(encoding="utf-8"))
    kept = ("kind", "title", "pairs", "public", "bytes_per_image", "ssim", "psnr", "distance", "reidentified")
    kept += ("recognised", "images", "how", "seconds")
    return {
        "table": setting.table,
        "label": setting.label,
        "command": " ".join(["ecofed", *setting.command]),
        "commit": found["git_commit"],
        "seed": found["seed"],
        "front": found["front"],
        "data": found["data"],
        "images": found["images"],
        "recognised_originals": found["recognised_originals"],
        "rows": {row["name"]: {key: row[key] for key in kept} for row in found["rows"]},
        "curve": [[row["bytes_per_image"], row["ssim"]] for row in found["curve"]],
        "probe": _probe(setting.probe) or _runs().get(" ".join(["ecofed", *setting.command]), found).get("probe"),
        "sums": found.get("sums"),
        "processor": found["environment"]["processor"],
    }


def _probe(row: str) -> float | None:
    if not row:
        return None
    found = json.loads((RECORDS.parent / "fronts.json").read_text(encoding="utf-8"))["probes"]["rows"]
    return float(found[row]["accuracy"]) if row in found else None


def _attackers(records: Mapping[str, Any]) -> str:
    """Every row of one audit."""
    lines = [
        "| who, or what | pairs | bytes an image | SSIM | PSNR | distance | told apart | recognised |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for record in records.values():
        if record["table"] == "attackers":
            lines += [
                f"| {row['title']} | {row['pairs'] or '-'} | {_figures(row)} |" for row in record["rows"].values()
            ]
            lines.append("")
            lines.append(_reference(record))
    return "\n".join(lines)


def _table(records: Mapping[str, Any], name: str) -> str:
    """The strongest attack of each audit, and the JPEG of as many bytes."""
    lines = [
        "| configuration | bytes an image | SSIM | PSNR | distance | told apart | recognised (the images) | "
        "JPEG of as many bytes: SSIM | linear probe | control told apart | command, commit |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    own = [each for each in settings() if each.table == name and each.name in records]
    for setting in sorted(own, key=lambda each: -_strongest(records[each.name])["bytes_per_image"]):
        record = records[setting.name]
        row, jpeg = _strongest(record), record["rows"]["jpeg-equal"]
        own = f"{jpeg['ssim']:.3f}" if jpeg["bytes_per_image"] <= row["bytes_per_image"] else "none so small"
        read = _runs().get(record["command"], record).get("probe")
        probe = "-" if read is None else f"{read:.3f}"
        control = record["rows"]["control"]["reidentified"]
        lines.append(
            f"| {record['label']} | {_figures(row)} ({record['recognised_originals']:.1%}) | {own} | {probe} | "
            f"{control:.1%} | {_reference(record)} |"
        )
    return "\n".join(lines)


def _sums(records: Mapping[str, Any]) -> str:
    """What devices' sums tell, and what they are good for."""
    lines = [
        "| sums, noise | accuracy | uploads | one image of a class: SSIM | picked of 256 | 16 of a class: AUC | "
        "as devices are: AUC | one false alarm in 100 | picked of 256 | which of two (possible) | counts exact (beside "
        "the truth) | control: AUC | commits |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    runs = _runs()
    for setting in settings():
        if setting.table != "sums" or setting.name not in records:
            continue
        record, run = records[setting.name], runs[setting.run]
        found = record["sums"]
        by = {each["of"].removeprefix("sums of devices "): each for each in found["took_part"]}
        alone, few, many = by["with 1 image of a class"], by["with 16 images of a class"], by["as they are"]
        cells = (
            record["label"],
            f"{run['accuracy']:.3f}",
            f"{run['uplink_bytes'] / 1e6:.1f} MB",
            f"{_strongest(record)['ssim']:.2f}",
            f"{alone['picked']:.1%}",
            f"{few['auc']:.2f}",
            f"{many['auc']:.2f}",
            f"{many['tpr_at_1_percent_fpr']:.1%}",
            f"{many['picked']:.1%}",
            f"{found['pair_right']:.1%} ({found['pair_at_most']:.1%})",
            f"{found['counts_exact']:.0%} ({found['count_error']:.1f})",
            f"{found['control']['auc']:.2f}",
            f"{record['commit'][:9]}, {run['commit'][:9]}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _strongest(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return max((row for row in record["rows"].values() if row["kind"] == "attack"), key=lambda row: row["ssim"])


def _figures(row: Mapping[str, Any]) -> str:
    def shown(key: str, how: str) -> str:
        return "-" if row[key] is None else format(row[key], how)

    size = f"{row['bytes_per_image']:,.0f}" if row["bytes_per_image"] else "-"
    likeness = " | ".join((shown("ssim", ".3f"), shown("psnr", ".1f"), shown("distance", ".2f")))
    return f"{size} | {likeness} | {shown('reidentified', '.1%')} | {shown('recognised', '.1%')}"


def _reference(record: Mapping[str, Any]) -> str:
    return f"`{record['command']}`, {record['commit'][:9]}"


def _plot(records: Mapping[str, Any]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (bytes_axes, accuracy_axes) = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained", sharey=True)
    named = {
        "bits": ("the whole activation, 1 to 8 bits", "s"),
        "sizes": ("shipped bottleneck fronts", "o"),
        "cuts": ("EfficientNet-Lite0, three cuts", "^"),
        "noise": ("256 B with noise", "v"),
        "attackers": ("the paper's cut and codec", "D"),
    }
    for table, (label, marker) in named.items():
        own = [record for record in records.values() if record["table"] == table]
        points = [(_strongest(each), each) for each in own]
        if not points:
            continue
        bytes_axes.plot(
            [row["bytes_per_image"] for row, _ in points],
            [row["ssim"] for row, _ in points],
            linestyle="none",
            marker=marker,
            label=label,
        )
        for row, each in points:
            text = "paper" if table == "attackers" else each["label"]
            place = (row["bytes_per_image"], row["ssim"])
            bytes_axes.annotate(text, place, xytext=(4, 4), textcoords="offset points", fontsize=7)
        probed = [(each["probe"], row["ssim"], each["label"]) for row, each in points if each["probe"] is not None]
        if probed:
            accuracy_axes.plot([a for a, _, _ in probed], [s for _, s, _ in probed], linestyle="none", marker=marker)
            for accuracy, ssim, text in probed:
                accuracy_axes.annotate(text, (accuracy, ssim), xytext=(4, 4), textcoords="offset points", fontsize=7)
    curves = [record["curve"] for record in records.values() if record["table"] == "bits"]
    if curves:
        bytes_axes.plot(*zip(*sorted(curves[0]), strict=True), color="gray", marker=".", label="the image as JPEG")
    bytes_axes.set_xscale("log")
    bytes_axes.set_xlabel("bytes of an upload, an image")
    bytes_axes.set_ylabel("SSIM of the strongest attack's reconstruction")
    bytes_axes.legend(fontsize=7, loc="lower right")
    accuracy_axes.set_xlabel("accuracy of a linear probe on the same codes")
    for axes in (bytes_axes, accuracy_axes):
        axes.grid(alpha=0.3)
        axes.set_ylim(0, 1.02)
    figure.savefig(PLOT, dpi=150)


def _grids() -> None:
    """Pictures: of one audit all rows; of the others the strongest attack's, one row a configuration."""
    import numpy as np

    from ecofed.files.tensor_files import unpack
    from ecofed.reports.plots.leakage import grid_figure
    from ecofed.reports.plots.style import drawing

    def strip(setting: Setting, step: str) -> np.ndarray:
        return unpack(setting.folder / "steps" / f"{step}.safetensors").arrays["shown"]

    finished = [each for each in settings() if (each.folder / "audit.json").exists()]
    sizes = [(table, "", STRONGEST) for table in ("bits", "sizes", "cuts", "noise")]
    wanted: dict[str, list[tuple[str, str, str | None]]] = {
        "privacy-grid.png": [("attackers", "", None)],
        "privacy-sizes.png": sizes,
        "privacy-fronts.png": [("fronts", name, STRONGEST) for name in ("vgg11-w1", "alexnet", "lenet-w1-rgb")],
        "privacy-photos.png": [("photos", "512 B", None)],
        "privacy-deepweeds.png": [("photos", "DeepWeeds", None)],
    }
    for name, parts in wanted.items():
        strips: list[tuple[str, np.ndarray]] = []
        for table, label, step in parts:
            for each in (one for one in finished if one.table == table and one.label.startswith(label)):
                if not strips:
                    strips.append(("the image", strip(each, "originals")))
                if step is not None:
                    strips.append((each.label, strip(each, step)))
                    continue
                rows = json.loads((each.folder / "audit.json").read_text(encoding="utf-8"))["rows"]
                strips += [(row["title"], strip(each, row["name"])) for row in rows]
        if strips:
            with drawing("privacy"):
                grid_figure(strips).savefig(PLOT.with_name(name), dpi=80)


def _load() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}
    return found


if __name__ == "__main__":
    app()
