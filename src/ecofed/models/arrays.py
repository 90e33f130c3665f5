"""Tensors of a module to numpy arrays and back, with errors that name what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ecofed.errors import ModelError, nearest

Arrays = Mapping[str, np.ndarray]


def state_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """Parameters and buffers, float32 copies on the CPU; not indices and masks: networks have their own."""
    state = module.state_dict().items()
    return {name: value.detach().cpu().numpy().copy() for name, value in state if value.is_floating_point()}


def parameter_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """Parameters only: what training on a device can have changed."""
    return {name: value.detach().cpu().numpy().copy() for name, value in module.named_parameters()}


def load_arrays(module: nn.Module, arrays: Arrays) -> None:
    """Copy arrays into a module. Buffers may be missing and then keep their values.

    Raises:
        ModelError: a parameter is missing, or an array is unknown to the module or has another shape.
    """
    state = module.state_dict()
    missing = [name for name, _ in module.named_parameters() if name not in arrays]
    if missing:
        raise ModelError(f"weights lack '{missing[0]}' ({len(missing)} of {len(state)} missing)")
    for name, array in arrays.items():
        if name not in state:
            raise ModelError(f"weights have '{name[:100]}', which the model does not{nearest(name[:100], state)}")
        if tuple(state[name].shape) != array.shape:
            raise ModelError(f"'{name}' has shape {array.shape}; the model needs {tuple(state[name].shape)}")
        if state[name].is_floating_point() != (array.dtype.kind == "f"):
            raise ModelError(f"'{name}' holds {array.dtype}, not what a network computes with")
    with torch.no_grad():  # nothing is changed before everything was found to fit
        for name, array in arrays.items():
            state[name].copy_(torch.from_numpy(np.array(array)))


class WeightedAverage:
    """Average of arrays over devices (FedAvg), accumulated in double precision in the order of ``add``."""

    def __init__(self) -> None:
        self._sums: dict[str, np.ndarray] = {}
        self.weight = 0.0

    def add(self, arrays: Arrays, weight: float) -> None:
        """Add one device's arrays."""
        for name, array in arrays.items():
            weighted = np.multiply(array, weight, dtype=np.float64)
            if name in self._sums:
                self._sums[name] += weighted
            else:
                self._sums[name] = weighted
        self.weight += weight

    def result(self) -> dict[str, np.ndarray]:
        """The average, float32; empty if nothing with a positive weight was added."""
        if self.weight <= 0:
            return {}
        return {name: (total / self.weight).astype(np.float32) for name, total in self._sums.items()}
