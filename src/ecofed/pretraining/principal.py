"""A bottleneck in closed form: principal components of the activation at the cut, turned at random.

Nothing is trained. An activation after a linear layer has negative entries, which codes from zero up cannot say; here
every direction is moved and scaled so that the quantiser's range holds what it usually is. The random turn spreads
what there is over all channels evenly, so that none wastes its levels and none clips much.

Shape legend: N images, C channels at the cut, K channels in the bottleneck, H x W spatial, V positions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ecofed.models import Expansion, add_bottleneck
from ecofed.pretraining.cut_statistics import CutStatistics
from ecofed.randomness import generator

#: Of a component, in steps: low frequencies deviate several times as much as all do on average.
_LEAST_DEVIATION = 0.15
#: How many standard deviations each way fill the quantiser's range, by bits: what is best for a normal distribution.
_REACH = {1: 0.8, 2: 1.6, 3: 2.05, 4: 2.5, 5: 2.9, 6: 3.2, 7: 3.6, 8: 3.9}


def add_principal_bottleneck(front: nn.Module, statistics: CutStatistics, narrow: int, bits: int) -> Expansion:
    """Let ``front`` end in a bottleneck of ``narrow`` (K) channels whose entries mostly lie in 0..1; its expansion.

    Args:
        front: made by ``partition``, its normalisation ``frozen``.
        statistics: of its activation.
        narrow: at most C.
        bits: of the quantiser, whose limit is 1.

    Where K is C, expansion after bottleneck is the identity, but for what lies outside of 0..1.
    """
    mean_C, channels = statistics.mean_C, len(statistics.mean_C)
    turned_KC = _turn(narrow) @ statistics.components()[0][:narrow]
    mean_K = turned_KC @ mean_C
    variance_K = np.einsum("kc,cd,kd->k", turned_KC, statistics.covariance_CC, turned_KC)
    spread_K = np.maximum(np.sqrt(variance_K.clip(0)), 1e-6)
    add_bottleneck(front, channels, narrow)
    reach = _REACH[bits]
    _fill(
        front.get_submodule("bottleneck"),
        {
            "conv.weight": turned_KC[:, :, None, None],
            "norm.running_mean": mean_K,
            "norm.running_var": np.maximum(spread_K**2 - 1e-5, 0),
            "norm.weight": np.full(narrow, 0.5 / reach),
            "norm.bias": np.full(narrow, 0.5),
        },
    )
    expansion = Expansion(narrow, channels, linear=True)
    back_CK = turned_KC.T * (2 * reach * spread_K)
    bias_C = mean_C - back_CK.sum(axis=1) / 2
    _fill(expansion, {"conv.weight": back_CK[:, :, None, None], "conv.bias": bias_C})
    return expansion


def add_transform_bottleneck(front: nn.Module, statistics: CutStatistics, step: float) -> Expansion:
    """As :func:`add_principal_bottleneck`, for the ``dct`` codec: components as they are, in units of one step.

    They are components in the metric of what the rest of the network reacts to, where the statistics have it.

    Components of which the step makes nothing are left out.
    """
    mean_C, channels = statistics.mean_C, len(statistics.mean_C)
    directions_KC, back_CK, variance_K = statistics.weighted_components()
    narrow = max(1, int((variance_K > (_LEAST_DEVIATION * step) ** 2).sum()))
    kept_KC = directions_KC[:narrow]
    add_bottleneck(front, channels, narrow)
    _fill(
        front.get_submodule("bottleneck"),
        {
            "conv.weight": kept_KC[:, :, None, None],
            "norm.running_mean": kept_KC @ mean_C,
            "norm.running_var": np.full(narrow, 1 - 1e-5),
            "norm.weight": np.full(narrow, 1 / (255 * step)),
            "norm.bias": np.full(narrow, 0.5),
        },
    )
    expansion = Expansion(narrow, channels, linear=True)
    back_CK = back_CK[:, :narrow] * (255 * step)
    bias_C = mean_C - back_CK.sum(axis=1) / 2
    _fill(expansion, {"conv.weight": back_CK[:, :, None, None], "conv.bias": bias_C})
    return expansion


def _turn(size: int) -> np.ndarray:
    """A random rotation, always the same (size, size)."""
    q, r = np.linalg.qr(generator(0, "principal-bottleneck").standard_normal((size, size)))
    rotation: np.ndarray = q * np.sign(np.diag(r))
    return rotation


@torch.no_grad()
def _fill(module: nn.Module, arrays: dict[str, np.ndarray]) -> None:
    state = module.state_dict()
    for name, array in arrays.items():
        state[name].copy_(torch.from_numpy(array.astype(np.float32)))
