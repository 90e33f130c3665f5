"""ResNet9 for 32x32 images: two plain blocks, two downsampling residual blocks, one residual block, a linear layer."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ecofed.models.blocks import Width, conv_block, scaled
from ecofed.models.sliced_conv import strided_pointwise


class ResidualBlock(nn.Module):
    """The sum of a branch of two convolution blocks and a shortcut.

    ``downsample`` halves height and width (rounded up): the branch ends in a pool, the shortcut is a strided 1x1
    convolution. Otherwise the shortcut is the input itself.
    """

    def __init__(self, in_channels: int, out_channels: int, *, downsample: bool) -> None:
        super().__init__()
        branch = [conv_block(in_channels, out_channels), conv_block(out_channels, out_channels)]
        self.branch = nn.Sequential(*branch)
        if downsample:
            self.branch.append(nn.MaxPool2d(2, ceil_mode=True))
            self.shortcut: nn.Module = strided_pointwise(in_channels, out_channels, 2)
        else:
            self.shortcut = nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.branch(x_NCHW) + self.shortcut(x_NCHW)  # type: ignore[no-any-return]


def resnet9(in_channels: int, classes: int, width: Width, head_width: int | None) -> nn.Module:  # noqa: ARG001
    """``block1`` ... ``block5``, then ``head``. There is no hidden layer in the head, so ``head_width`` is ignored."""
    c64, c128, c256, c512 = (
        scaled(channels, width(f"block{index}")) for index, channels in enumerate((64, 128, 256, 512), start=1)
    )
    head = nn.Sequential(
        OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(c512, classes))
    )
    return nn.Sequential(
        OrderedDict(
            block1=conv_block(in_channels, c64, pool=True),
            block2=conv_block(c64, c128, pool=True),
            block3=ResidualBlock(c128, c256, downsample=True),
            block4=ResidualBlock(c256, c512, downsample=True),
            block5=ResidualBlock(c512, c512, downsample=False),
            head=head,
        )
    )
