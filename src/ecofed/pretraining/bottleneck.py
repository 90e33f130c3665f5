"""Training through the codec: what the quantiser does to an activation, with gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StraightThroughQuantiser(nn.Module):
    """Clip to 0..1 and round to ``2**bits`` levels, exactly as the ``uniform`` codec with limit 1 decodes.

    The gradient passes the rounding unchanged and stops at clipped entries (Bengio et al., 2013, "straight-through").
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, h_NCHW: Tensor) -> Tensor:
        top = float((1 << self.bits) - 1)
        clipped = h_NCHW.float().clamp(0, 1)
        return clipped + (torch.round(clipped * top) / top - clipped).detach()
