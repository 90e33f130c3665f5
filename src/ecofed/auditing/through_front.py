"""White-box inversion: who knows the front looks for the image whose activation is the one that arrived.

Starts from a decoder's reconstruction and follows the gradient of the distance between activations, with a penalty on
variation between neighbouring pixels. After "Unleashing the tiger" and "Model inversion attacks against collaborative
inference" (He et al., 2019), without anything that only they assume.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ecofed.models.optimisers import AdamW
from ecofed.slow_work import counted

STEPS, RATE = 80, 0.01
#: Of the variation; the one that is best on the attacker's own pairs is used.
VARIATIONS = (0.003, 0.03)

Front = Callable[[Tensor], Tensor]


def as_front(front: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> Front:
    """Pictures in 0..1 to activations."""
    frozen = front.requires_grad_(False)
    mean_C, std_C = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (mean, std))
    return lambda x_NCHW: frozen((x_NCHW - mean_C) / std_C)


def refined(front: Front, start_NCHW: Tensor, wanted_NCHW: Tensor, *, variation: float, what: str) -> Tensor:
    """Pictures whose activations are closer to what arrived.

    Args:
        front: as :func:`as_front`.
        start_NCHW: a decoder's reconstructions, in 0..1.
        wanted_NCHW: decoded activations.
        variation: weight of the penalty.
        what: for the progress.
    """
    scale = wanted_NCHW.std(dim=(0, 2, 3), keepdim=True) + 1e-3 * wanted_NCHW.std() + 1e-6
    x_NCHW = start_NCHW.clone().requires_grad_()
    optimiser = AdamW([x_NCHW], lr=RATE, weight_decay=0)
    for _ in counted(range(STEPS), STEPS, what):
        optimiser.zero_grad()
        apart = ((front(x_NCHW) - wanted_NCHW) / scale).square().mean(dim=(1, 2, 3))
        rough = (x_NCHW[..., 1:] - x_NCHW[..., :-1]).abs().mean(dim=(1, 2, 3))
        rough = rough + (x_NCHW[..., 1:, :] - x_NCHW[..., :-1, :]).abs().mean(dim=(1, 2, 3))
        (apart + variation * rough).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            x_NCHW.clamp_(0, 1)
    return x_NCHW.detach()
