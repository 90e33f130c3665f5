"""Convolutions as TensorFlow pads them, which networks converted from it need."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """A convolution whose output is its input's size divided by the stride, rounded up ("SAME").

    How much that takes depends on the input's size; where it is odd, the larger half lies below and to the right.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=bias)

    def pads(self, height: int, width: int) -> tuple[int, int, int, int]:
        """For an input of this size: top, left, bottom, right."""
        top, bottom = _pad(height, 0, self)
        left, right = _pad(width, 1, self)
        return top, left, bottom, right

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', ceil(H / stride), ceil(W / stride))."""
        top, left, bottom, right = self.pads(x_NCHW.shape[2], x_NCHW.shape[3])
        padding: int | Sequence[int] = (top, left)
        if (top, left) != (bottom, right):
            x_NCHW, padding = F.pad(x_NCHW, (left, right, top, bottom)), 0
        return F.conv2d(x_NCHW, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


def _pad(size: int, axis: int, layer: nn.Conv2d) -> tuple[int, int]:
    stride, reach = layer.stride[axis], (layer.kernel_size[axis] - 1) * layer.dilation[axis] + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2
