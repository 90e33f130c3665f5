"""Networks without values."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def blank(module: nn.Module, device: torch.device | str = "cpu") -> nn.Module:
    """A copy whose parameters and buffers have memory on ``device`` and whatever was there before; indices and masks,
    which must be within bounds, are zero.

    ``Module.to_empty`` does that too, but from the meta device it loads PyTorch's symbolic shapes first, and SymPy with
    them, which takes a tenth of a plan's time.
    """
    empty: dict[int, Tensor] = {}
    for value in (*module.parameters(), *module.buffers()):
        make = torch.empty if value.is_floating_point() else torch.zeros
        fresh = make(value.shape, dtype=value.dtype, device=device)
        empty[id(value)] = nn.Parameter(fresh, value.requires_grad) if isinstance(value, nn.Parameter) else fresh
    return copy.deepcopy(module, empty)
