"""Weights from keyed randomness: each parameter's values depend on the seed and its own name, on nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.models.normalisation import is_norm, reset_norm
from ecofed.models.same_conv import SameConv2d
from ecofed.models.sliced_conv import SlicedConv2d
from ecofed.randomness import generator

_UNIFORM = (nn.Conv2d, SameConv2d, SlicedConv2d, nn.Linear)


def initialise(model: nn.Module, seed: int) -> None:
    """Draw PyTorch's default distributions for every layer, in place.

    Convolutions and linear layers: weight and bias uniform in ``+-1/sqrt(fan_in)``, keyed by ``(seed, parameter
    name)``, so a front has the same start whatever back hangs on it. Normalisation: scale one, offset zero,
    statistics zero and one. Any other layer with a ``reset_parameters`` method runs it under a keyed seed, without
    touching the global generator; parameters outside such layers keep their values.
    """
    for prefix, module in model.named_modules():
        if type(module) in _UNIFORM:
            _uniform(module, prefix, seed)
        elif is_norm(module):
            reset_norm(module)
        elif hasattr(module, "reset_parameters"):
            reset: Any = module.reset_parameters
            with torch.random.fork_rng():
                torch.manual_seed(int(generator(seed, f"weights:{prefix}").integers(2**63)))
                reset()


def constants_of(model: nn.Module) -> dict[str, Tensor]:
    """What :func:`initialise` leaves as it is: parameters outside such layers, and buffers of all but normalisation."""
    constants: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        if is_norm(module):
            continue
        own = list(module.named_buffers(recurse=False))
        if type(module) not in _UNIFORM and not hasattr(module, "reset_parameters"):
            own += list(module.named_parameters(recurse=False))
        constants |= {f"{prefix}.{name}" if prefix else name: value.detach().clone() for name, value in own}
    return constants


def _uniform(layer: nn.Module, prefix: str, seed: int) -> None:
    weight = layer.get_parameter("weight")
    bound = 1 / math.sqrt(weight[0].numel()) if weight[0].numel() else 0.0
    with torch.no_grad():
        for name, parameter in layer.named_parameters(recurse=False):
            full_name = f"{prefix}.{name}" if prefix else name
            draws = generator(seed, f"weights:{full_name}").random(tuple(parameter.shape), dtype=np.float32)
            parameter.copy_(torch.from_numpy((2 * draws - 1) * np.float32(bound)))
