"""EfficientNet-Lite0: inverted residual blocks without squeeze-and-excitation, made for phones.

After "EfficientNet: Rethinking Model Scaling" (Tan and Le, 2019) and its Lite variant, with the padding and the epsilon
of the TensorFlow networks, so that the published ImageNet weights fit. Its stride is 32: pictures of 32 to 224 pixels.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ecofed.models.blocks import Width, scaled
from ecofed.models.same_conv import SameConv2d

#: TensorFlow's, which the published statistics were made with.
EPSILON = 1e-3
#: Stages: (blocks, kernel, stride of the first, expansion, channels).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class InvertedResidual(nn.Module):
    """``expand`` (1x1) to more channels, ``depthwise``, ``project`` (1x1) to few, without an activation function.

    Where neither size nor channels change, the input is added.
    """

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.is_residual = stride == 1 and in_channels == out_channels
        branch: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion != 1:
            branch["expand"] = _conv(in_channels, inner, 1)
        branch["depthwise"] = _conv(inner, inner, kernel, stride=stride, groups=inner)
        branch["project"] = _conv(inner, out_channels, 1, activated=False)
        for name, part in branch.items():
            self.add_module(name, part)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        h_NCHW = x_NCHW
        for part in self.children():
            h_NCHW = part(h_NCHW)
        return x_NCHW + h_NCHW if self.is_residual else h_NCHW


def efficientnet_lite0(in_channels: int, classes: int, width: Width, head_width: int | None) -> nn.Module:
    """``stem``, ``block1`` ... ``block16``, then ``head`` with one layer of ``head_width`` (1280 x width) channels."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    factor = width("stem")
    channels = scaled(32, factor)
    layers["stem"] = _conv(in_channels, channels, 3, stride=2)
    for blocks, kernel, first_stride, expansion, stage_channels in _STAGES:
        for index in range(blocks):
            out_channels, stride = scaled(stage_channels, factor), first_stride if index == 0 else 1
            layers[f"block{len(layers)}"] = InvertedResidual(
                channels, out_channels, kernel=kernel, stride=stride, expansion=expansion
            )
            channels = out_channels
    hidden = head_width or scaled(1280, factor)
    head = OrderedDict(_conv(channels, hidden, 1).named_children())
    head |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "classifier": nn.Linear(hidden, classes)}
    layers["head"] = nn.Sequential(head)
    return nn.Sequential(layers)


def _conv(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, groups: int = 1, activated: bool = True
) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv"] = SameConv2d(in_channels, out_channels, kernel, stride=stride, groups=groups, bias=False)
    layers["norm"] = nn.BatchNorm2d(out_channels, eps=EPSILON, track_running_stats=False)
    if activated:
        layers["relu"] = nn.ReLU6()
    return nn.Sequential(layers)
