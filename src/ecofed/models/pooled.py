"""A linear classifier on pooled features, in the place of the rest of a network: what the closed form solves for.

Shape legend: N images, C channels at the cut, H x W spatial, R x Q rows and columns of the grid, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.models.partition import Partition


class UnitBall(nn.Module):
    """Each image's features in units of a ball about a middle, none outside of it."""

    middle: Tensor
    radius: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("middle", torch.zeros(channels, 1, 1))
        self.register_buffer("radius", torch.ones(1))

    def forward(self, f_NCRQ: Tensor) -> Tensor:
        """(N, C, R, Q), same shape; each image's norm is at most 1."""
        units = (f_NCRQ - self.middle) / self.radius
        largest_N = units.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1)  # whose squares could overflow
        norm_N = largest_N * (units / largest_N).square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        return units / norm_N.clamp(min=1)


class PooledClassifier(nn.Module):
    """Means over the parts of a grid, and one linear layer; with a ball between them where sums bore noise."""

    def __init__(
        self, shape_CHW: tuple[int, int, int], grid: tuple[int, int], classes: int, *, in_ball: bool = False
    ) -> None:
        super().__init__()
        channels, height, width = shape_CHW
        self.pooled_means = nn.AvgPool2d((height // grid[0], width // grid[1]))
        self.pooled_ball = UnitBall(channels) if in_ball else nn.Identity()
        self.pooled_flat = nn.Flatten()
        self.pooled_classifier = nn.Linear(channels * grid[0] * grid[1], classes)

    def features(self, h_NCHW: Tensor) -> Tensor:
        """What the linear layer decides from, (N, C * R * Q)."""
        features_ND: Tensor = self.pooled_flat(self.pooled_ball(self.pooled_means(h_NCHW)))
        return features_ND

    def forward(self, h_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to logits (N, K)."""
        logits_NK: Tensor = self.pooled_classifier(self.features(h_NCHW))
        return logits_NK

    @torch.no_grad()
    def set_weights(self, weights_KD: np.ndarray, bias_K: np.ndarray) -> None:
        """Of the linear layer, in float32 from now on."""
        for own, array in ((self.pooled_classifier.weight, weights_KD), (self.pooled_classifier.bias, bias_K)):
            own.copy_(torch.from_numpy(np.ascontiguousarray(array, np.float32)))

    @torch.no_grad()
    def set_ball(self, middle_C: np.ndarray, radius: float) -> None:
        """Of a classifier with one."""
        ball = self.pooled_ball
        assert isinstance(ball, UnitBall)
        ball.middle.copy_(torch.from_numpy(middle_C.astype(np.float32).reshape(-1, 1, 1)))
        ball.radius.fill_(radius)


def ends_pooled(
    halves: Partition, shape_CHW: tuple[int, int, int], grid: tuple[int, int], classes: int, *, in_ball: bool
) -> Partition:
    """The same front with a :class:`PooledClassifier` in the place of the back."""
    back = PooledClassifier(shape_CHW, grid, classes, in_ball=in_ball)
    return Partition(front=halves.front, back=back.eval(), layer=halves.layer)
