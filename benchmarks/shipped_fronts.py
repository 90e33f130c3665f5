"""The fronts inside the package, made again: src/ecofed/fronts/NAME.safetensors and the card beside it.

    python benchmarks/shipped_fronts.py list                        what ships, and its linear probe
    python benchmarks/shipped_fronts.py make vgg11-w0.5-rgb-256b    train one, and its twins of other models

Needs tiny-imagenet-32, and the probe's data set, where ``ecofed data list`` finds them. VGG11 and ResNet9 begin with
the same two blocks, so one training makes the fronts of both.
"""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path

import typer

from ecofed.pretraining import shipped_fronts, write_front
from ecofed.wire import FrontBundle

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "runs" / "fronts"
SHIPPED = ROOT / "src" / "ecofed" / "fronts"
LICENCE = (
    "Apache-2.0 (the weights); trained on Tiny-ImageNet images, which are under ImageNet's terms: "
    "non-commercial research"
)
TWINS = {"vgg11": ("vgg11", "resnet9")}

#: Name to the words of ``ecofed pretrain`` that are its own.
FRONTS = {
    "vgg11-w1-rgb": "--model vgg11 --width 1 --epochs 5 --probe cifar10",
    "vgg11-w0.5-rgb": "--model vgg11 --width 0.5 --epochs 10 --probe cifar10",
    "vgg11-w0.5-grey": "--model vgg11 --width 0.5 --epochs 4 --grey --probe fashion-mnist",
    "vgg11-w0.25-grey": "--model vgg11 --width 0.25 --epochs 5 --grey --probe fashion-mnist",
    **{
        f"vgg11-w0.5-rgb-{16 * channels}b": f"--model vgg11 --width 0.5 --epochs {epochs} --channels {channels} "
        "--bits 2 --start vgg11-w0.5-rgb --probe cifar10"
        for channels, epochs in ((4, 3), (8, 3), (16, 16), (22, 16), (32, 3))
    },
    "vgg11-w1-rgb-128b": "--model vgg11 --width 1 --epochs 3 --channels 8 --bits 2 "
    "--start vgg11-w1-rgb --probe cifar10",
    "vgg11-w1-rgb-256b": "--model vgg11 --width 1 --epochs 4 --channels 16 --bits 2 "
    "--start vgg11-w1-rgb --probe cifar10",
    "vgg11-w0.25-grey-256b": "--model vgg11 --width 0.25 --epochs 6 --grey --channels 16 --bits 2 "
    "--start vgg11-w0.25-grey --probe fashion-mnist",
    "lenet-w1-rgb": "--model lenet --width 1 --epochs 5 --probe cifar10",
    "lenet-w1-grey": "--model lenet --width 1 --epochs 5 --grey --probe fashion-mnist",
    "alexnet-w1-rgb": "--model alexnet --width 1 --epochs 5 --probe cifar10",
}

app = typer.Typer(add_completion=False, no_args_is_help=True)


@app.command("list")
def list_fronts() -> None:
    """Every front of the package."""
    for front in shipped_fronts():
        print(f"{front.name:24} {front.card.get('probe_accuracy', '-'):6} {front.card.get('command', '')}")


@app.command()
def make(name: str) -> None:
    """Train a front (continues where it was stopped), and put it and its twins into the package."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    out = FOLDER / f"{name}.safetensors"
    if not out.exists():
        words = ["pretrain", "--images", "tiny-imagenet-32", *shlex.split(FRONTS[name]), "--threads", "1", "--resume"]
        program = str(Path(sys.executable).parent / "ecofed")
        subprocess.run([program, *words, "--out", out.name], cwd=FOLDER, check=True)
    ship(name)


@app.command()
def ship(name: str) -> None:
    """Put a front that is trained into the package."""
    bundle = FrontBundle.load(FOLDER / f"{name}.safetensors")
    bundle = dataclasses.replace(bundle, card={**bundle.card, "licence": LICENCE})
    for model in TWINS.get(bundle.model, (bundle.model,)):
        twin = dataclasses.replace(bundle, model=model)
        print(write_front(twin, SHIPPED, name.replace(bundle.model, model, 1)))


if __name__ == "__main__":
    app()
