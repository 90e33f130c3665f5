"""How alike two pictures are, in pixels and structure.

Pictures are (N, C, H, W) float32 in 0..1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of the index as it was published: the window's side and deviation in pixels, and what keeps quotients finite.
WINDOW, DEVIATION = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(x_NCHW: Tensor, y_NCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each pair in dB, (N,); 100 for equal ones."""
    error_N = (x_NCHW - y_NCHW).square().flatten(1).mean(dim=1)
    return -10 * torch.log10(error_N.clamp(min=1e-10))


def ssim(x_NCHW: Tensor, y_NCHW: Tensor) -> Tensor:
    """Structural similarity of each pair, (N,), mean over channels; 1 for equal ones.

    "Image quality assessment: from error visibility to structural similarity" (Wang et al., 2004), with its Gaussian
    window, where the window fits. Differentiable.
    """
    channels = x_NCHW.shape[1]
    kernel = _window(x_NCHW).expand(channels, 1, WINDOW, WINDOW)

    def mean(of: Tensor) -> Tensor:
        return F.conv2d(of, kernel, groups=channels)

    x_mean, y_mean = mean(x_NCHW), mean(y_NCHW)
    x_var = mean(x_NCHW.square()) - x_mean.square()
    y_var = mean(y_NCHW.square()) - y_mean.square()
    both = mean(x_NCHW * y_NCHW) - x_mean * y_mean
    light = (2 * x_mean * y_mean + _C1) / (x_mean.square() + y_mean.square() + _C1)
    structure = (2 * both + _C2) / (x_var + y_var + _C2)
    return (light * structure).flatten(1).mean(dim=1)


def _window(like: Tensor) -> Tensor:
    at = torch.arange(WINDOW, dtype=like.dtype, device=like.device) - WINDOW // 2
    weight = torch.exp(-at.square() / (2 * DEVIATION**2))
    weight = weight / weight.sum()
    return (weight[:, None] * weight[None, :])[None, None]
