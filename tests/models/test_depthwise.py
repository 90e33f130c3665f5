"""Wide depthwise kernels in mixed precision: what PyTorch computes, without the slow way that it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.models import set_precision
from ecofed.models.depthwise import QuickDepthwise
from ecofed.models.same_conv import SameConv2d


def gradients(output: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(3))
    return torch.autograd.grad(output, inputs, g.to(output.dtype))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        *(((5, 5), 1, 2, 9), ((5, 5), 2, 0, 11), ((7, 7), 2, 3, 12), ((5, 5), 1, 2, 4), ((9, 9), 1, 4, 8)),
        ((5, 3), (1, 2), (2, 1), 8),
        ((1, 4), 1, 0, 8),
    ],
)
def test_values_and_gradients_are_those_of_the_convolution(
    kernel: tuple[int, int], stride: Any, padding: Any, size: int
) -> None:
    torch.manual_seed(0)
    x_NCHW, weight = torch.randn(3, 6, size, size, requires_grad=True), torch.randn(6, 1, *kernel, requires_grad=True)
    bias = torch.randn(6, requires_grad=True)
    exact = F.conv2d(x_NCHW, weight, bias, stride, padding, 1, 6)
    with QuickDepthwise():
        quick = F.conv2d(x_NCHW, weight, bias, stride, padding, 1, 6)
    assert quick.dtype == torch.bfloat16
    inputs = (x_NCHW, weight, bias)
    pairs = zip((exact, *gradients(exact, inputs)), (quick, *gradients(quick, inputs)), strict=True)
    for wanted, found in pairs:
        assert found.shape == wanted.shape
        assert float((found.float() - wanted).detach().norm() / wanted.detach().norm()) < 0.01


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(6, 6, 3, groups=6),  # narrow
        nn.Conv2d(6, 6, 5, groups=3),  # not by channel
        nn.Conv2d(6, 6, 5, groups=6, dilation=2),
        nn.Conv2d(6, 6, 5, groups=6).requires_grad_(False),
    ],
)
def test_other_convolutions_are_left_alone(layer: nn.Conv2d) -> None:
    x_NCHW = torch.randn(2, 6, 12, 12)
    with QuickDepthwise():
        assert torch.equal(layer(x_NCHW), layer(x_NCHW).float())
        assert layer(x_NCHW).dtype == torch.float32


@pytest.mark.parametrize("layer", [SameConv2d(8, 8, 5, stride=2, groups=8), nn.Conv2d(8, 8, 5, groups=8, padding=2)])
def test_a_network_in_mixed_precision_goes_that_way(layer: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights' gradient comes of kernels three wide, and only while the network trains."""
    from ecofed.models import depthwise

    seen: list[tuple[int, ...]] = []

    def counted(*values: Any) -> Any:
        seen.append(tuple(values[2].shape[2:]))
        return backward(*values)

    backward = depthwise._backward
    monkeypatch.setattr(depthwise, "_backward", counted)
    network = set_precision(nn.Sequential(layer), "bfloat16")
    x_NCHW = torch.randn(2, 8, 8, 8)
    network.train()(x_NCHW).sum().backward()
    assert seen == [(3, 3)] * 4
    network.eval()(x_NCHW).sum().backward()
    assert len(seen) == 4
