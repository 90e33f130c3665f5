"""Which directions of an activation the rest of a trained network reacts to.

Codes that lose as much of one direction as of another waste bits on what the back hardly looks at. The metric here says
how much the features, from which the network's last layer decides, change when an activation is moved:
M = E[J^T J], J their derivative by the activation at a position. No labels are needed.

Shape legend: N images, C channels at the cut, H x W spatial, F features, V positions.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.randomness import generator

#: Derivatives of so many images are taken, and of so many at once.
MOST_IMAGES, BATCH = 600, 50
#: Of the mean over all directions: none counts for less, or codes would lose it altogether.
LEAST = 1e-3


def sensitivity(back: nn.Module, h_NCHW: np.ndarray) -> np.ndarray:
    """The metric, float64 (C, C), whose trace is C; estimated with one random direction of features an image.

    Args:
        back: the rest of a trained network, to its last layer; in ``eval`` mode it stays.
        h_NCHW: activations at the cut, float32.
    """
    features: list[Tensor] = []
    last = [layer for layer in back.modules() if isinstance(layer, nn.Linear)][-1:]
    hooks = [layer.register_forward_pre_hook(lambda _, given: features.append(given[0])) for layer in last]
    rng, channels = generator(0, "sensitivity"), h_NCHW.shape[1]
    chosen = np.linspace(0, len(h_NCHW) - 1, min(MOST_IMAGES, len(h_NCHW))).astype(int)
    metric_CC, count = np.zeros((channels, channels)), 0
    back.eval()
    try:
        for at in range(0, len(chosen), BATCH):
            h = torch.from_numpy(np.ascontiguousarray(h_NCHW[chosen[at : at + BATCH]], np.float32)).requires_grad_()
            features.clear()
            out = back(h)
            f_NF = (features[0] if features else out).flatten(1)
            direction_NF = torch.from_numpy(rng.standard_normal(f_NF.shape).astype(np.float32))
            (g_NCHW,) = torch.autograd.grad((f_NF * direction_NF).sum(), h)
            g_VC = g_NCHW.permute(0, 2, 3, 1).reshape(-1, channels).double().numpy()
            metric_CC += g_VC.T @ g_VC
            count += len(g_VC)
    finally:
        for hook in hooks:
            hook.remove()
    trace = float(np.trace(metric_CC))
    return metric_CC * (channels / trace) if np.isfinite(trace) and trace > 0 else np.eye(channels)


def root_and_inverse(metric_CC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric square root of a metric, and its inverse; directions that count for nothing are kept from vanishing."""
    value_C, direction_CC = np.linalg.eigh(metric_CC)
    value_C = np.maximum(value_C, LEAST * value_C.mean())
    root_C = np.sqrt(value_C * (len(value_C) / value_C.sum()))
    return (direction_CC * root_C) @ direction_CC.T, (direction_CC / root_C) @ direction_CC.T
