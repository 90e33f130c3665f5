"""Measure this machine: a profile for the clock and the planner."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.config.problem import ModelConfig
from ecofed.costs.profiles import Machine
from ecofed.data import augment, to_input
from ecofed.errors import ConfigError
from ecofed.models import build_model, partition
from ecofed.models.optimisers import SGD
from ecofed.planning.counting import CountedNetwork

#: Training is measured on a whole network, inference on a front, which has few channels and is slower for its FLOPs.
NETWORK = ModelConfig(name="resnet9", width=0.5)
BATCH = 20
FRONT = ModelConfig(name="vgg11", width=0.5)
FRONT_BATCH = 100
#: Measured for so long each, at least.
SECONDS = 1.0
_COPY_BYTES = 64_000_000
_TINY_LAYERS = 50


def measure(name: str, *, accelerator: str = "cpu", threads: int | None = None, seconds: float = SECONDS) -> Machine:
    """Measure inference and training, memory and the cost of a call.

    Args:
        name: of the profile.
        accelerator: ``cpu`` or ``cuda``.
        threads: of PyTorch; ``None``: as many as it takes by itself.
        seconds: how long each measurement lasts.

    Raises:
        ConfigError: ``cuda`` was asked for and there is none.
    """
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--accelerator cuda: PyTorch sees no CUDA device")
    device = torch.device(accelerator)
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        overhead = _call_overhead(device, seconds)
        bandwidth = _bandwidth(device, seconds)
        inference = _inference_rate(device, seconds, overhead)
        training = _training_rate(device, seconds, overhead)
    finally:
        torch.set_num_threads(before)
    return Machine(
        name=name,
        title=_title(device, threads or before),
        inference_flops_per_second=inference,
        training_flops_per_second=training,
        memory_bytes_per_second=bandwidth,
        call_overhead_seconds=overhead,
        sample_overhead_seconds=_preparation(seconds),
        memory_bytes=_memory_bytes(device),
        runtime_bytes=1_000_000_000 if accelerator == "cuda" else 450_000_000,
    )


def to_toml(machine: Machine) -> str:
    """The profile as a file that ``clock.device`` and ``clock.server`` take."""
    lines = [f'title = "{machine.title}"']
    numbers = ("inference_flops_per_second", "training_flops_per_second", "memory_bytes_per_second")
    overheads = ("call_overhead_seconds", "sample_overhead_seconds")
    lines += [f"{key} = {getattr(machine, key):.3e}" for key in (*numbers, *overheads)]
    lines += [f"{key} = {getattr(machine, key)}" for key in ("memory_bytes", "runtime_bytes")]
    measured = "measured by 'ecofed profile'"
    lines += ["", "[sources]"]
    for key, config, batch in (
        (numbers[0], FRONT, f"front, batch {FRONT_BATCH}"),
        (numbers[1], NETWORK, f"batch {BATCH}"),
    ):
        lines.append(f'{key} = "{measured} on {config.name} x {config.width:g}, {batch}"')
    lines += [f'memory_bytes_per_second = "{measured}, copying {_COPY_BYTES // 10**6} MB"']
    lines += [f'call_overhead_seconds = "{measured} on layers that compute next to nothing"']
    lines += [f'sample_overhead_seconds = "{measured} on colour images of 32x32 pixels"']
    lines += ['memory_bytes = "as the operating system says"', 'runtime_bytes = "assumed: the system and PyTorch"']
    return "\n".join(lines) + "\n"


def _inference_rate(device: torch.device, seconds: float, overhead: float) -> float:
    """FLOP/s of a front; the fixed cost of calls is taken off, since the clock adds it again."""
    model = _filled(FRONT)
    front, _, _ = CountedNetwork(model, 3).halves("block2")
    half = partition(model, "block2").front.to(device).eval()
    x_BCHW = torch.rand(FRONT_BATCH, 3, 32, 32, device=device)

    def infer() -> None:
        with torch.no_grad():
            half(x_BCHW)

    took = _seconds(infer, device, seconds)
    return FRONT_BATCH * front.flops / max(took - len(front.layers) * overhead, took / 10)


def _training_rate(device: torch.device, seconds: float, overhead: float) -> float:
    """FLOP/s of training a whole network; the fixed cost of calls is taken off."""
    model = _filled(NETWORK).to(device).train()
    network = CountedNetwork(model, 3).whole()
    x_BCHW, y_B = torch.rand(BATCH, 3, 32, 32, device=device), torch.arange(BATCH, device=device) % 10
    optimiser = SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def train() -> None:
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x_BCHW), y_B)
        torch.autograd.backward(loss)
        optimiser.step()

    took = _seconds(train, device, seconds)
    return BATCH * network.training_flops() / max(took - 3 * len(network.layers) * overhead, took / 10)


def _filled(config: ModelConfig) -> nn.Module:
    """A network with small random weights: zeros would be multiplied faster."""
    model = build_model(dataclasses.replace(config, head_width=64), in_channels=3, classes=10, normalisation="frozen")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.05, 0.05)
    return model


def _bandwidth(device: torch.device, seconds: float) -> float:
    source = torch.zeros(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY_BYTES / _seconds(lambda: target.copy_(source), device, seconds)


def _call_overhead(device: torch.device, seconds: float) -> float:
    layers = nn.Sequential(*(nn.Conv2d(1, 1, 1) for _ in range(_TINY_LAYERS))).to(device)
    x_BCHW = torch.zeros(1, 1, 2, 2, device=device)

    def call() -> Tensor:
        with torch.no_grad():
            output: Tensor = layers(x_BCHW)
        return output

    return _seconds(call, device, seconds) / _TINY_LAYERS


def _preparation(seconds: float) -> float:
    images_NHWC = np.zeros((100, 32, 32, 3), np.uint8)
    samples_N = np.arange(len(images_NHWC))

    def prepare() -> None:
        augmented_NHWC = augment(images_NHWC, samples_N, seed=0, device=0, view=0, flip=True)
        to_input(augmented_NHWC, (0.5,) * 3, (0.25,) * 3)

    return _seconds(prepare, torch.device("cpu"), seconds) / len(images_NHWC)


def _seconds(work: Callable[[], object], device: torch.device, at_least: float) -> float:
    """The time of the quickest repetition: other programs only ever make it longer."""
    times: list[float] = []
    work()  # what happens only once (memory, kernels) is not counted
    while sum(times) < at_least or len(times) < 3:
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _title(device: torch.device, threads: int) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} processor, {threads} thread{'s' if threads > 1 else ''}"
