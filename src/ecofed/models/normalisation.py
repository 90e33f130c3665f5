"""Normalisation modes, conversion between them, and calibration of frozen statistics.

``batch``    BatchNorm by each batch's own statistics, in training and in evaluation (no buffers): the reference. Of a
             single value a channel, its own mean, the offset is left.
``frozen``   statistics are constants, never updated: an activation depends on its own image alone.
``running``  BatchNorm that trains by batch statistics and evaluates by running averages.
``group``    GroupNorm.

Weight and bias have the same names and shapes in all four; ``frozen`` and ``running`` also share their buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.errors import ConfigError, nearest

Normalisation = Literal["batch", "frozen", "running", "group"]
_MODES = get_args(Normalisation)


class _StatisticsNorm2d(nn.Module):
    """Normalisation with a mean and a variance per channel in buffers, and a learned scale and offset."""

    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def reset_parameters(self) -> None:
        """Scale one, offset zero, mean zero, variance one."""
        reset_norm(self)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


class FrozenBatchNorm2d(_StatisticsNorm2d):
    """BatchNorm whose statistics are constants, in training as in evaluation."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.batch_norm(
            x_NCHW, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


class RunningBatchNorm2d(_StatisticsNorm2d):
    """BatchNorm with running averages (momentum 0.1), without the batch counter that nobody averages or sends."""

    momentum = 0.1

    def forward(self, x_NCHW: Tensor) -> Tensor:
        # One value per channel has no variance; such a batch is normalised by the averages and leaves them alone.
        training = self.training and x_NCHW.numel() > x_NCHW.shape[1]
        return F.batch_norm(
            x_NCHW,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=training,
            momentum=self.momentum,
            eps=self.eps,
        )


class GroupNorm(nn.GroupNorm):
    """PyTorch's, which ends the process (2.13, on the CPU) where it is the first layer that is trained.

    There its input needs no gradient, and the backward pass of the kernel for the layout of 4-D tensors that is used
    everywhere else (channels last) writes that gradient all the same.
    """

    def forward(self, x_NCHW: Tensor) -> Tensor:
        own = torch.is_grad_enabled() and not x_NCHW.requires_grad
        return super().forward(x_NCHW.contiguous() if own else x_NCHW)


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm by each batch's own statistics, whatever the batch's size."""

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__(num_features, eps, track_running_stats=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        if x_NCHW.numel() != x_NCHW.shape[1]:
            return super().forward(x_NCHW)
        # PyTorch refuses a single value. It is its own mean, so that nothing but the offset is left.
        centred = x_NCHW - x_NCHW
        return centred * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


def _groups(channels: int) -> int:
    """The largest divisor of at most 32 that leaves at least four channels in a group, or one group."""
    return max((count for count in range(1, 33) if channels % count == 0 and channels // count >= 4), default=1)


_BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "batch": BatchNorm2d,
    "frozen": FrozenBatchNorm2d,
    "running": RunningBatchNorm2d,
    "group": lambda channels: GroupNorm(_groups(channels), channels),
}

_NORMS = (nn.BatchNorm2d, nn.GroupNorm, _StatisticsNorm2d)


def is_norm(module: nn.Module) -> bool:
    """Whether ``module`` is one of the layers that :func:`set_normalisation` replaces."""
    return isinstance(module, _NORMS)


def reset_norm(norm: nn.Module) -> None:
    """Scale one, offset zero, mean zero, variance one, in place."""
    with torch.no_grad():
        for name, value in (*norm.named_parameters(recurse=False), *norm.named_buffers(recurse=False)):
            value.fill_(1.0 if name in ("weight", "running_var") else 0.0)


def _converted(norm: nn.Module, mode: str) -> nn.Module:
    channels = norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features
    if not isinstance(channels, int) or norm.weight is None:
        return norm
    weight = norm.weight
    assert isinstance(weight, Tensor)
    new = _BUILDERS[mode](channels).to(device=weight.device, dtype=weight.dtype)
    new.eps = norm.eps
    old_values = {name: value for name, value in norm.state_dict().items() if value is not None}
    new.load_state_dict({**new.state_dict(), **{k: v for k, v in old_values.items() if k in new.state_dict()}})
    return new.train(norm.training)


def set_normalisation(model: nn.Module, mode: str) -> nn.Module:
    """Replace every normalisation layer of ``model`` in place; returns the model (a new one if it is itself a layer).

    Weight and bias are kept, and the statistics wherever old and new layer both have them; a layer that gains
    statistics starts with mean 0 and variance 1. Layers without weight and bias are left alone.

    Raises:
        ConfigError: an unknown mode.
    """
    if mode not in _MODES:
        raise ConfigError(f"normalisation = {mode!r}: must be one of {', '.join(_MODES)}{nearest(mode, _MODES)}")
    replaced: dict[nn.Module, nn.Module] = {}  # a layer that is used in two places stays one layer

    def replace(module: nn.Module) -> nn.Module:
        if is_norm(module):
            if module not in replaced:
                replaced[module] = _converted(module, mode)
            return replaced[module]
        # Not named_children(): it names a child that is registered twice only once.
        for name, child in list(module._modules.items()):
            if child is not None:
                setattr(module, name, replace(child))
        return module

    return replace(model)


class _Reached(Exception):  # noqa: N818 - control flow: ends a forward pass at the layer under calibration
    pass


def calibrate(model: nn.Module, x_NCHW: Tensor, batch_size: int = 100) -> None:
    """Set the mean and variance of every layer that has them from ``x_NCHW``, which must be public images.

    Layers are set in the order in which data pass through them, each from inputs that the layers before it have
    normalised with their new values. Mean and (biased) variance are exact over all images, in double precision.
    Cost: one partial forward pass over the images per layer.
    """
    layers = [module for module in model.modules() if isinstance(module, _StatisticsNorm2d)]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for layer in _in_order(model, layers, x_NCHW[:1]):
                _calibrate_layer(model, layer, x_NCHW, batch_size)
    finally:
        model.train(was_training)


def _in_order(model: nn.Module, layers: list[_StatisticsNorm2d], x_NCHW: Tensor) -> list[_StatisticsNorm2d]:
    order: list[_StatisticsNorm2d] = []

    def note(layer: nn.Module, _: object) -> None:
        if isinstance(layer, _StatisticsNorm2d) and layer not in order:
            order.append(layer)

    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        model(x_NCHW)
    finally:
        for handle in handles:
            handle.remove()
    return order


def _calibrate_layer(model: nn.Module, layer: _StatisticsNorm2d, x_NCHW: Tensor, batch_size: int) -> None:
    total = torch.zeros(layer.num_features, dtype=torch.float64, device=layer.running_mean.device)
    square, count = torch.zeros_like(total), 0

    def gather(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal count
        h_NCHW = inputs[0].double()
        total.add_(h_NCHW.sum(dim=(0, 2, 3)))
        square.add_(h_NCHW.square().sum(dim=(0, 2, 3)))
        count += h_NCHW.numel() // layer.num_features
        raise _Reached

    handle = layer.register_forward_pre_hook(gather)
    try:
        for batch_NCHW in torch.split(x_NCHW, batch_size):
            try:
                model(batch_NCHW)
            except _Reached:
                continue
    finally:
        handle.remove()
    mean = total / count
    layer.running_mean.copy_(mean)
    layer.running_var.copy_((square / count - mean.square()).clamp_min(0))
