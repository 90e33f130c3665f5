"""A decoder that a bottleneck is trained against: what codes tell of labels shall stay, what they tell of pixels go.

The decoder learns to make the pictures of the codes; the front is trained to make its error larger, by the same step
with the gradient turned round ("Domain-adversarial training of neural networks", Ganin et al., 2016). It says nothing
about another decoder, which learns afterwards: that is for ``ecofed audit`` to try.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH = 96


class _Reversed(torch.autograd.Function):
    """The same numbers; a gradient turned round and scaled."""

    @staticmethod
    def forward(ctx: Any, h_NCHW: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return h_NCHW.view_as(h_NCHW)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradients[0], None


class Adversary(nn.Module):
    """Stands behind the quantiser and hands codes on as they are.

    Args:
        channels: of the codes.
        factor: how many times as large the pictures' side is.
        colours: of the pictures.
        weight: of the decoder's error, in units of the pictures' variance, beside the loss of labels.
    """

    def __init__(self, channels: int, factor: int, colours: int, weight: float) -> None:
        super().__init__()
        self.weight, self.factor = weight, factor
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(_WIDTH, colours * factor * factor, 1),
        )
        self._codes = torch.empty(0)

    def forward(self, h_NCHW: Tensor) -> Tensor:
        self._codes = h_NCHW
        return h_NCHW

    def loss(self, x_NCHW: Tensor) -> Tensor:
        """Of the codes that came last: the decoder's squared error over the pictures' variance; for the front the
        opposite."""
        codes: Tensor = _Reversed.apply(self._codes, self.weight)  # type: ignore[no-untyped-call]
        made_NCHW = F.pixel_shuffle(self.decoder(codes), self.factor)
        return F.mse_loss(made_NCHW.float(), x_NCHW) / x_NCHW.var().clamp(min=1e-6)


def adversaries_in(network: nn.Module) -> list[Adversary]:
    """Those that this network is trained against: none or one."""
    return [module for module in network.modules() if isinstance(module, Adversary)]
