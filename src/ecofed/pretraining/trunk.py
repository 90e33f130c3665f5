"""What a front is trained under: a small residual network that is thrown away afterwards.

A front learns better features below a residual trunk than below, say, VGG11's own back with its three fully connected
layers, and sooner; the front that it leaves behind serves any back.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ecofed.models import set_normalisation
from ecofed.models.resnet import ResidualBlock

_WIDTHS = (96, 192, 192)


def residual_trunk(channels: int, classes: int, normalisation: str) -> nn.Module:
    """From a front's activation (``channels`` of any height and width) to logits."""
    first, second, third = _WIDTHS
    trunk = nn.Sequential(
        OrderedDict(
            stage1=ResidualBlock(channels, first, downsample=True),
            stage2=ResidualBlock(first, second, downsample=True),
            stage3=ResidualBlock(second, third, downsample=False),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(third, classes),
        )
    )
    return set_normalisation(trunk, normalisation)
