"""The part of timm's interface that is used, with one small network made of the layers that timm fuses."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNormAct2d(nn.BatchNorm2d):
    """As timm's: normalisation, then dropping, then an activation function, in one layer."""

    def __init__(self, channels: int, act: type[nn.Module] | None) -> None:
        super().__init__(channels)
        self.drop = nn.Identity()
        self.act = act(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        normal = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)
        activated: Tensor = self.act(self.drop(normal))
        return activated


class Conv2dSame(nn.Conv2d):
    """As timm's: TensorFlow's padding."""

    def forward(self, x: Tensor) -> Tensor:
        (height, width), (kernel, _), (stride, _) = x.shape[-2:], self.kernel_size, self.stride
        tall, wide = (max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in (height, width))
        x = F.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class SqueezeExcite(nn.Module):
    """A factor for each channel, from its mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, 4, 1)
        self.act1 = nn.SiLU(inplace=True)
        self.conv_expand = nn.Conv2d(4, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.conv_expand(self.act1(self.conv_reduce(mean))))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A depthwise convolution, squeeze and excitation, and the input added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = BatchNormAct2d(channels, nn.Hardswish)
        self.se = SqueezeExcite(channels)
        self.conv_pw = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = BatchNormAct2d(channels, None)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.bn2(self.conv_pw(self.se(self.bn1(self.conv_dw(x)))))
        x += shortcut
        return x


class Linear(nn.Linear):
    """As timm's: it looks at how it is run first."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class TinyNet(nn.Module):
    """Two strides, two blocks, a head."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__()
        self.conv_stem = Conv2dSame(in_chans, 8, 3, stride=2, bias=False)
        self.bn1 = BatchNormAct2d(8, nn.ReLU6)
        self.blocks = nn.Sequential(Block(8), nn.Conv2d(8, 12, 5, 2, 2, bias=False), Block(12))
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = Linear(12, num_classes)
        self.feature_info = [
            {"module": "bn1", "num_chs": 8, "reduction": 2},
            {"module": "blocks.0", "num_chs": 8, "reduction": 2},
            {"module": "blocks.2", "num_chs": 12, "reduction": 16},
        ]
        self.pretrained_cfg = {
            "mean": (0.4, 0.5, 0.6),
            "std": (0.2, 0.25, 0.3),
            "input_size": (3, 96, 96),
            "classifier": "classifier",
        }

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.bn1(self.conv_stem(x)))
        return self.classifier(self.flatten(self.global_pool(x)))  # type: ignore[no-any-return]


class WithTable(TinyNet):
    """Computes with a table that is neither a parameter nor normalisation."""

    def __init__(self, in_chans: int, num_classes: int) -> None:
        super().__init__(in_chans, num_classes)
        self.blocks[0].register_buffer("relative_position_index", torch.arange(4), persistent=False)


def fake_timm() -> Any:
    """A module to put in timm's place."""
    networks = {"tinynet": TinyNet, "tabular": WithTable}
    module: Any = ModuleType("timm")

    def create_model(name: str, *, pretrained: bool, in_chans: int = 3, num_classes: int = 1000) -> nn.Module:
        if pretrained:
            raise OSError("the hub cannot be reached\nfor a long time")
        return networks[name.partition(".")[0]](in_chans, num_classes)

    module.create_model = create_model
    module.is_model = networks.__contains__
    module.list_models = lambda: list(networks)
    return module
