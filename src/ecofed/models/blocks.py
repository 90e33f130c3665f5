"""Building parts that the networks share. Normalisation is chosen afterwards, by ``set_normalisation``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from torch import nn

#: The factor on the channels of a part of the network (``block1``, ..., ``head``): the back may have its own.
Width = Callable[[str], float]


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded, at least one."""
    return max(1, round(channels * width))


def conv_block(
    in_channels: int, out_channels: int, *, kernel: int = 3, stride: int = 1, pool: bool = False
) -> nn.Sequential:
    """Convolution (same padding, bias), normalisation, ReLU, and a 2x2 maximum pool if asked for."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2)
    layers["norm"] = nn.BatchNorm2d(out_channels, track_running_stats=False)
    # Not in place: a cut may fall between a convolution and its ReLU, and must keep the value that it cut at.
    layers["relu"] = nn.ReLU()
    if pool:
        layers["pool"] = nn.MaxPool2d(2)
    return nn.Sequential(layers)


def hidden_head(features: int, hidden: list[int], classes: int) -> nn.Sequential:
    """Flatten, fully connected layers with ReLU, and the last layer, which every network calls ``classifier``."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for index, units in enumerate(hidden, start=1):
        layers[f"hidden{index}"] = nn.Linear(features, units)
        layers[f"relu{index}"] = nn.ReLU()
        features = units
    layers["classifier"] = nn.Linear(features, classes)
    return nn.Sequential(layers)
