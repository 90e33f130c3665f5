"""``precision=bfloat16`` holds wherever a method trains: on devices, on the server, and in copies of a back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tiny import started, tiny_config
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from ecofed.config.problem import ModelConfig
from ecofed.methods import METHOD_CLASSES, sample_devices
from ecofed.models import build_model, partition, set_precision
from ecofed.models.partition import between

#: Every method that trains a network, and the other ways in which a server may train many devices' backs.
TRAINING: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in METHOD_CLASSES if name != "closed-form"),  # which trains nothing
    ("vanilla-dpfl", {"vanilla_dpfl__version": "v2"}),
    ("ecofed", {"ecofed__server": "fedavg"}),
]


@contextmanager
def multiplications() -> Iterator[list[tuple[tuple[int, ...], torch.dtype]]]:
    """Shape of the weights and type of the output of every convolution and linear layer called in training."""
    seen: list[tuple[tuple[int, ...], torch.dtype]] = []

    def look(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if isinstance(module, nn.Linear | nn.Conv2d) and module.training and torch.is_grad_enabled():
            seen.append((tuple(module.weight.shape), output.dtype))

    handle = register_module_forward_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize(("name", "changes"), TRAINING, ids=str)
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32], ids=str)
def test_every_layer_of_every_method_trains_in_the_configured_precision(
    name: str, changes: dict[str, Any], precision: torch.dtype
) -> None:
    method, _ = started(tiny_config(name, precision=str(precision).removeprefix("torch."), **changes))
    back = {tuple(module.weight.shape) for module in method.halves.back.modules() if isinstance(module, nn.Linear)}
    with multiplications() as seen:
        method.train_round(1, sample_devices(method.config, 1))
    assert back <= {shape for shape, _ in seen}
    assert {kind for _, kind in seen} == {precision}


@pytest.mark.parametrize("part", ["front", "back", "middle"])
def test_a_copy_of_a_copy_of_a_part_of_a_network_keeps_its_precision(part: str) -> None:
    model = build_model(ModelConfig(name="vgg11", width=0.125), in_channels=1, classes=5, normalisation="batch")
    cut = between(model, "block1", "block3") if part == "middle" else getattr(partition(model, "block2"), part)
    channels = next(cut.parameters()).shape[1]
    again = copy.deepcopy(copy.deepcopy(set_precision(cut.train(), "bfloat16")))
    with multiplications() as seen:
        output = again(torch.randn(2, channels, 32 if part == "front" else 8, 32 if part == "front" else 8))
    assert output.dtype == torch.float32
    assert {kind for _, kind in seen} == {torch.bfloat16}
    assert next(again.parameters()) is not next(cut.parameters())
