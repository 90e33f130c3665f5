"""How many samples a second the server trains on, beside a plain PyTorch loop: ratios within one run.

    python benchmarks/training_speed.py [--seconds 4]

The network after the cut is trained alone: VGG11 after ``block2``, of half and of full width. The plain loop is what
research code of split learning does: a copy of it for each device, batches of 10, float32, SGD with momentum, on float
activations. The others are ``ecofed``'s pooled training on 2-bit codes, decoding included, with the settings named.
Everything takes turns on one thread, and processor time counts; of several turns each, the median. With ``--threads 2``
time counts, which means little while others use the machine.
"""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer

from ecofed.activations import View, configured_codec
from ecofed.config import Settings
from ecofed.config.codecs import CodecConfig
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.methods.pooled import PooledTrainer
from ecofed.models import build_model, native_precision, partition, set_normalisation, set_precision

WIDTHS = {"half width": "cpu-vgg11-cifar10-skewed", "full width": "paper-vgg11-cifar10"}
PLAIN_BATCH, DEVICE_SAMPLES, CLASSES, TURNS = 10, 500, 10, 5
#: What is changed of the defaults.
VARIANTS: dict[str, dict[str, object]] = {
    "defaults": {"batch_size": 20},
    "bfloat16": {"batch_size": 20, "precision": "bfloat16"},
    "batches of 100": {"batch_size": 20, "ecofed__server_batch_size": 100},
    "bfloat16, batches of 100": {"batch_size": 20, "precision": "bfloat16", "ecofed__server_batch_size": 100},
    "bfloat16, batches of 400": {"batch_size": 20, "precision": "bfloat16", "ecofed__server_batch_size": 400},
    "bfloat16, batches of 200": {"batch_size": 20, "precision": "bfloat16", "ecofed__server_batch_size": 200},
}
#: Trains on so many samples.
Trainer = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of one way to train."""

    width: str
    name: str
    rate: float
    """Samples a second: of processor time with one thread, of time with several."""
    ratio: float
    """To the plain loop's."""


def measured(seconds: float, *, threads: int = 1, small: bool = False) -> Iterator[Speed]:
    """Turns of so many seconds, about. ``small``: one turn, a narrow network, the first and the last way."""
    torch.set_num_threads(threads)
    clock = time.process_time if threads == 1 else time.perf_counter
    narrow: dict[str, object] = {"model__width": 0.125, "model__head_width": 32} if small else {}
    for width, preset in list(WIDTHS.items())[: 1 if small else None]:
        trainers = {"plain loop": plain_loop(_config(preset, **narrow))}
        variants = list(VARIANTS.items())[:: len(VARIANTS) - 1 if small else 1]
        trainers |= {name: pooled(_config(preset, **narrow | changes)) for name, changes in variants}
        rates: dict[str, list[float]] = {name: [] for name in trainers}
        first = 400  # a multiple of every batch
        fitting = {name: int(seconds * _rate(train, first, clock)) // first for name, train in trainers.items()}
        counts = {name: first * max(1, times) for name, times in fitting.items()}
        for _ in range(1 if small else TURNS):
            for name, train in trainers.items():
                rates[name].append(_rate(train, counts[name], clock))
        for name, own in rates.items():
            ratio = median(one / plain for one, plain in zip(own, rates["plain loop"], strict=True))
            yield Speed(width=width, name=name, rate=median(own), ratio=ratio)


def main(
    seconds: Annotated[float, typer.Option(help="Of a turn, about.")] = 4.0,
    threads: Annotated[int, typer.Option(help="Of PyTorch.")] = 1,
) -> None:
    """Print the table."""
    found = platform.processor() or platform.machine()
    print(f"{found}, {threads} threads, PyTorch {torch.__version__}, auto precision here: {native_precision()}")
    for one in measured(seconds, threads=threads):
        print(f"{one.width}: {one.name:<26} {one.rate:7.0f} samples/s  {one.ratio:5.2f} x the plain loop")


def _rate(train: Trainer, samples: int, clock: Callable[[], float]) -> float:
    started = clock()
    train(samples)
    return samples / (clock() - started)


def _config(preset: str, **changes: object) -> Config:
    return Settings.load(preset).for_method("ecofed").replace(**changes)


def _back(config: Config) -> tuple[torch.nn.Module, tuple[int, int, int]]:
    """The network after the cut, and the shape of what it takes (C, H, W)."""
    network = build_model(config.model, in_channels=3, classes=CLASSES, normalisation="frozen")
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.02)
    halves = partition(network, config.model.cut or "block2")
    set_normalisation(halves.back, "running")
    _, *shape = halves.front(torch.zeros(1, 3, 32, 32)).shape
    return halves.back.to(memory_format=torch.channels_last), (shape[0], shape[1], shape[2])


def plain_loop(config: Config) -> Trainer:
    """One copy of the back for each device, one batch after the other."""
    back, shape_CHW = _back(config)
    h_NCHW = torch.rand(DEVICE_SAMPLES, *shape_CHW).contiguous(memory_format=torch.channels_last)
    y_N = torch.arange(DEVICE_SAMPLES) % CLASSES

    def train(samples: int) -> None:
        own = copy.deepcopy(back).train()
        optimiser = torch.optim.SGD(own.parameters(), lr=1e-4, momentum=config.momentum)
        for start in range(0, samples, PLAIN_BATCH):
            rows = [number % DEVICE_SAMPLES for number in range(start, start + PLAIN_BATCH)]
            loss = F.cross_entropy(own(h_NCHW[rows]), y_N[rows])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    return train


def pooled(config: Config) -> Trainer:
    """As the server of ``ecofed`` trains."""
    config = config.replace(learning_rate=1e-4)
    back, shape_CHW = _back(config)
    codec = configured_codec(CodecConfig(bits=2), shape_CHW, np.ones(shape_CHW[0], np.float32))
    count = 10 * DEVICE_SAMPLES
    rows = np.random.default_rng(0).integers(0, 256, (count, codec.row_bytes), dtype=np.uint8)
    numbers = np.arange(count)
    pool = View(rows=rows, scale_N=np.empty(0, np.float32), sample_N=numbers, labels_N=numbers % CLASSES)
    task = Task(config=config, in_channels=3, classes=CLASSES, mean=(0.5,) * 3, std=(0.5,) * 3, flip=False)
    trainer = PooledTrainer(
        set_precision(back, config.precision),
        lambda view, rows_B, _: codec.decode(view.rows[rows_B], None),
        task,
        config.ecofed,
        torch_device=torch.device("cpu"),
    )

    def train(samples: int) -> None:
        trainer.train(1, pool, numbers // DEVICE_SAMPLES, samples // config.ecofed.batch(config.batch_size))

    return train


if __name__ == "__main__":
    typer.run(main)
