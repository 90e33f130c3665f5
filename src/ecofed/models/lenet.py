"""A small LeNet with today's parts (ReLU, normalisation, maximum pools) for the smallest devices."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ecofed.models.blocks import Width, conv_block, hidden_head, scaled


def lenet(in_channels: int, classes: int, width: Width, head_width: int | None) -> nn.Module:
    """``block1`` and ``block2`` (5x5 convolutions), then ``head`` with one hidden layer.

    Its hidden layer is 512 x width units by default: 4096 would be eight tenths of the network.
    """
    c32, c64 = scaled(32, width("block1")), scaled(64, width("block2"))
    return nn.Sequential(
        OrderedDict(
            block1=conv_block(in_channels, c32, kernel=5, pool=True),
            block2=conv_block(c32, c64, kernel=5, pool=True),
            head=hidden_head(c64 * 8 * 8, [head_width or scaled(512, width("head"))], classes),
        )
    )
