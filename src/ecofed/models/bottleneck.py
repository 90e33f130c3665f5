"""A narrow passage at the cut: the front ends in a 1x1 convolution to few channels, the back begins with its inverse.

Shape legend: N images, C channels at the cut, K channels in the bottleneck, H x W spatial.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, fx, nn

from ecofed.models.normalisation import FrozenBatchNorm2d, RunningBatchNorm2d, set_normalisation
from ecofed.models.partition import Partition


class Bottleneck(nn.Module):
    """1x1 convolution from C to K channels, normalisation, ReLU. Trained so that the entries mostly lie in 0..1;
    the codec clips the rest."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, narrow, 1, bias=False)
        self.norm: nn.Module = FrozenBatchNorm2d(narrow)

    def forward(self, h_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, H, W), not negative."""
        return torch.relu(self.norm(self.conv(h_NCHW)))


class ExactConv2d(nn.Conv2d):
    """In float32 while the rest trains in mixed precision: codes of a transform are small steps about a large mean,
    which bfloat16 rounds away."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H', W')."""
        with torch.autocast(x_NCHW.device.type, enabled=False):
            return super().forward(x_NCHW.float())


class Expansion(nn.Module):
    """1x1 convolution from K back to C channels, normalisation, ReLU: the first layer of the back.

    ``linear``: the convolution alone, where activations at the cut may be negative.
    """

    def __init__(self, narrow: int, channels: int, *, linear: bool = False) -> None:
        super().__init__()
        self.conv = (ExactConv2d if linear else nn.Conv2d)(narrow, channels, 1)
        if not linear:
            self.norm: nn.Module = RunningBatchNorm2d(channels)
        self.linear = linear

    def forward(self, q_NKHW: Tensor) -> Tensor:
        """(N, K, H, W) to (N, C, H, W)."""
        h_NCHW: Tensor = self.conv(q_NKHW)
        return h_NCHW if self.linear else torch.relu(self.norm(h_NCHW))


def is_linear(expansion: Collection[str]) -> bool:
    """Whether a state with these names (without the layer's own) is that of a linear :class:`Expansion`."""
    return "norm.weight" not in expansion


def add_bottleneck(front: nn.Module, channels: int, narrow: int) -> None:
    """Let a front made by ``partition`` end in a :class:`Bottleneck` from ``channels`` (C) to ``narrow`` (K) channels.

    In place; the new layer is called ``bottleneck`` in the front's state, its normalisation is ``frozen``.
    """
    assert isinstance(front, fx.GraphModule)
    front.add_submodule("bottleneck", Bottleneck(channels, narrow).to(_device(front)))
    output = next(node for node in front.graph.nodes if node.op == "output")
    with front.graph.inserting_before(output):
        output.args = (front.graph.call_module("bottleneck", output.args),)
    front.recompile()
    front.train(front.training)


def add_expansion(back: nn.Module, narrow: int, channels: int, *, linear: bool = False) -> None:
    """Let a back made by ``partition`` begin with an :class:`Expansion` from ``narrow`` (K) to ``channels`` (C).

    In place; the new layer is called ``expansion`` in the back's state, its normalisation is ``running``.
    """
    assert isinstance(back, fx.GraphModule)
    back.add_submodule("expansion", Expansion(narrow, channels, linear=linear).to(_device(back)))
    entry = next(node for node in back.graph.nodes if node.op == "placeholder")
    with back.graph.inserting_after(entry):
        expanded = back.graph.call_module("expansion", (entry,))
    entry.replace_all_uses_with(expanded, delete_user_cb=lambda user: user is not expanded)
    back.recompile()
    back.train(back.training)


def narrow(halves: Partition, shape: Sequence[int], expansion: Collection[str], normalisation: str) -> None:
    """Put a bottleneck between halves of a network, and let the back begin with the matching expansion; in place.

    Args:
        halves: where the network is cut.
        shape: of the bottleneck's convolution weights: (K, C, 1, 1).
        expansion: the names in the expansion's state.
        normalisation: of the new layers.
    """
    add_bottleneck(halves.front, shape[1], shape[0])
    add_expansion(halves.back, shape[0], shape[1], linear=is_linear(expansion))
    for half in (halves.front, halves.back):
        set_normalisation(half, normalisation)


def _device(half: nn.Module) -> torch.device:
    return next(value.device for value in half.parameters())
