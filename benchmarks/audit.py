"""The audits behind docs/results-privacy.md: what uploads give away, at which bits, cuts and sizes.

    python benchmarks/audit.py run [--only PATTERN]      the audits that are missing, one after the other
    python benchmarks/audit.py write                     docs/results/privacy.json, the page's tables, plot and pictures

Needs CIFAR-10 and TrashNet where ``ecofed data list`` finds them. An audit of 32-pixel images takes two to five minutes
of one core, one of photographs about ten.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs" / "audits"
RECORDS = ROOT / "docs" / "results" / "privacy.json"
PAGE = ROOT / "docs" / "results-privacy.md"
PLOT = ROOT / "docs" / "images" / "privacy-leakage.png"
GRIDS = {"paper": "privacy-grid.png", "sizes": "privacy-sizes.png", "photos": "privacy-photos.png"}

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


_ONE = {"--attacks": STRONGEST, "--passes": "4000"}
_PHOTOS = {"data.name": "trashnet", "threads": "1"}
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
    every = [Setting(table="attackers", label="paper", preset="paper-vgg11-cifar10", sets={}, options={})]
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
            table="cuts",
            label=f"after {cut}",
            preset="cpu-vgg11-cifar10",
            sets={**_LITE, "model.cut": cut},
            options=_ONE,
        )
        for cut in ("block3", "block5", "block11")
    ]
    every.append(
        Setting(
            table="photos",
            label="512 B (preset photos)",
            preset="photos",
            sets=_PHOTOS,
            options={"--attacks": STRONGEST, "--images": "64", "--passes": "600"},
        )
    )
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


def _load() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}
    return found


if __name__ == "__main__":
    app()
