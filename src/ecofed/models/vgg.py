"""VGG11 for 32x32 images, with normalisation: 34,440,970 parameters for ten classes and three channels."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ecofed.models.blocks import Width, conv_block, hidden_head, scaled

# Channels of each convolution block, and whether a pool ends it. The usual fifth pool is left out: 32x32 ends in 2x2.
_BLOCKS = (
    (64, True),
    (128, True),
    (256, False),
    (256, True),
    (512, False),
    (512, True),
    (512, False),
    (512, False),
)


def vgg11(in_channels: int, classes: int, width: Width, head_width: int | None) -> nn.Module:
    """``block1`` ... ``block8``, then ``head`` with two hidden layers of ``head_width`` (4096 x width) units."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (channels, pool) in enumerate(_BLOCKS, start=1):
        out_channels = scaled(channels, width(f"block{index}"))
        layers[f"block{index}"] = conv_block(in_channels, out_channels, pool=pool)
        in_channels = out_channels
    hidden = head_width or scaled(4096, width("head"))
    layers["head"] = hidden_head(in_channels * 2 * 2, [hidden, hidden], classes)
    return nn.Sequential(layers)
