"""AlexNet for 32x32 images: five convolution blocks with normalisation, three fully connected layers."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ecofed.models.blocks import Width, conv_block, hidden_head, scaled


def alexnet(in_channels: int, classes: int, width: Width, head_width: int | None) -> nn.Module:
    """``block1`` ... ``block5``, ``pool`` to 2x2, then ``head`` with two hidden layers (4096 x width units)."""
    c64, c192, c384, c256, last = (
        scaled(channels, width(f"block{index}")) for index, channels in enumerate((64, 192, 384, 256, 256), start=1)
    )
    hidden = head_width or scaled(4096, width("head"))
    return nn.Sequential(
        OrderedDict(
            block1=conv_block(in_channels, c64, stride=2, pool=True),
            block2=conv_block(c64, c192, pool=True),
            block3=conv_block(c192, c384),
            block4=conv_block(c384, c256),
            block5=conv_block(c256, last, pool=True),
            pool=nn.AdaptiveAvgPool2d(2),
            head=hidden_head(last * 2 * 2, [hidden, hidden], classes),
        )
    )
