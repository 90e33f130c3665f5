"""Weights from keyed randomness: each parameter's values depend on the seed and its own name, on nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from ecofed.models.normalisation import is_norm, reset_norm
from ecofed.models.same_conv import SameConv2d
from ecofed.models.sliced_conv import SlicedConv2d
from ecofed.randomness import generator


def initialise(model: nn.Module, seed: int) -> None:
    """Draw PyTorch's default distributions for every layer, in place.

    Convolutions and linear layers: weight and bias uniform in ``+-1/sqrt(fan_in)``, keyed by ``(seed, parameter
    name)``, so a front has the same start whatever back hangs on it. Normalisation: scale one, offset zero,
    statistics zero and one. Any other layer with a ``reset_parameters`` method runs it under a keyed seed, without
    touching the global generator; parameters outside such layers keep their values.
    """
    for prefix, module in model.named_modules():
        if type(module) in (nn.Conv2d, SameConv2d, SlicedConv2d, nn.Linear):
            _uniform(module, prefix, seed)
        elif is_norm(module):
            reset_norm(module)
        elif hasattr(module, "reset_parameters"):
            reset: Any = module.reset_parameters
            with torch.random.fork_rng():
                torch.manual_seed(int(generator(seed, f"weights:{prefix}").integers(2**63)))
                reset()


def _uniform(layer: nn.Module, prefix: str, seed: int) -> None:
    weight = layer.get_parameter("weight")
    bound = 1 / math.sqrt(weight[0].numel()) if weight[0].numel() else 0.0
    with torch.no_grad():
        for name, parameter in layer.named_parameters(recurse=False):
            full_name = f"{prefix}.{name}" if prefix else name
            draws = generator(seed, f"weights:{full_name}").random(tuple(parameter.shape), dtype=np.float32)
            parameter.copy_(torch.from_numpy((2 * draws - 1) * np.float32(bound)))
