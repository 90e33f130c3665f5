"""A network of one's own, from the command line::

ecofed run quickstart --plugin examples/small_network.py --set model.name=two-blocks
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

import ecofed


@ecofed.register_network("two-blocks", cut="block1")
def two_blocks(in_channels: int, classes: int, width: float, head_width: int | None) -> nn.Module:  # noqa: ARG001
    """Two convolution blocks and a linear classifier, for 32x32 images; ``cut`` names a layer of it."""
    first, second = max(1, round(32 * width)), max(1, round(64 * width))
    return nn.Sequential(
        OrderedDict(
            block1=_block(in_channels, first),
            block2=_block(first, second),
            head=nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * second, classes)),
        )
    )


def _block(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)
    )
