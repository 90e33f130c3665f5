"""The network of a method that classifies pooled features: the front, and one linear layer in the place of the rest."""

from __future__ import annotations

from ecofed.activations.statistics import feature_grid
from ecofed.config.methods import facts_of
from ecofed.config.schema import Config
from ecofed.models import Partition, activation_shape
from ecofed.models.pooled import ends_pooled


def with_its_end(halves: Partition, config: Config, *, in_channels: int, side: int, classes: int) -> Partition:
    """These halves, or with the end that the method puts in the place of the back.

    Args:
        halves: of the network that the configuration names, with the bottleneck that its front has.
        config: of the run.
        in_channels: of the pictures.
        side: of the network's input, in pixels.
        classes: how many.
    """
    end = facts_of(config.method).pooled_end(config)
    if end is None:
        return halves
    shape_CHW = activation_shape(halves.front, in_channels, side)
    return ends_pooled(halves, shape_CHW, feature_grid(shape_CHW, end.features), classes, in_ball=end.in_ball)
