"""Strided 1x1 convolutions of few channels, which a library that PyTorch uses gets wrong on many processors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

#: oneDNN's AVX2 kernel for the weights' gradient of a strided 1x1 convolution over channels-last memory writes beyond
#: its buffer where there are fewer input channels (PyTorch 2.13): the process dies, or goes on with broken memory.
FEWEST_CHANNELS = 8


class SlicedConv2d(nn.Conv2d):
    """A strided 1x1 convolution as an unstrided one over every so manyth row and column: (N, C, H, W) to
    (N, C', ceil(H / stride), ceil(W / stride))."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        height, width = self.stride
        return F.conv2d(x_NCHW[:, :, ::height, ::width], self.weight, self.bias)


def strided_pointwise(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    """A 1x1 convolution with a stride."""
    kind = nn.Conv2d if in_channels >= FEWEST_CHANNELS else SlicedConv2d
    return kind(in_channels, out_channels, 1, stride=stride)
