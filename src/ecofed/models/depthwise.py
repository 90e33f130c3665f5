"""Depthwise convolutions with large kernels, trained in mixed precision at the speed of small ones.

oneDNN (PyTorch 2.13) has no fast weight gradient of depthwise kernels wider than three: in bfloat16 it takes 25 to 200
times as long as the forward pass. The gradient of a wide kernel is that of several kernels three wide, each on an input
that is moved; those are fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.overrides import TorchFunctionMode

_PART = 3
_backward = torch.ops.aten.convolution_backward


class QuickDepthwise(TorchFunctionMode):
    """Within it, depthwise convolutions with wide kernels on the processor compute in bfloat16, both ways."""

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.conv2d and not kwargs and _is_wide(*args):
            x_NCHW, weight, bias, stride, padding = args[:5]
            output = _InParts.apply(x_NCHW.bfloat16(), weight.bfloat16(), _pair(stride), _pair(padding))  # type: ignore[no-untyped-call]
            return output if bias is None else output + bias.to(output.dtype)[:, None, None]
        return func(*args, **(kwargs or {}))


def _is_wide(
    x_NCHW: Tensor,
    weight: Tensor,
    _bias: Tensor | None = None,
    _stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    channels, _, *kernel = weight.shape
    depthwise = x_NCHW.ndim == 4 and 1 < channels == x_NCHW.shape[1] == groups
    plain = _pair(dilation) == (1, 1) and not isinstance(padding, str)
    return depthwise and plain and max(kernel) > _PART and weight.requires_grad and x_NCHW.device.type == "cpu"


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


class _InParts(torch.autograd.Function):
    """A depthwise convolution (N, C, H, W) to (N, C, H', W')."""

    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x_NCHW, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x_NCHW, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x_NCHW, weight = ctx.saved_tensors
        g_NCHW = gradients[0].contiguous(memory_format=torch.channels_last)
        of_input = of_weight = None
        if ctx.needs_input_grad[0]:
            # With a stride it is this one that is slow in bfloat16.
            exact = [value if ctx.stride == (1, 1) else value.float() for value in (g_NCHW, x_NCHW, weight)]
            of_input = _gradients(ctx, exact[0], exact[1], exact[2], ctx.padding, (True, False, False))[0].to(
                x_NCHW.dtype
            )
        if ctx.needs_input_grad[1]:
            of_weight = _of_weight(ctx, g_NCHW, x_NCHW, weight)
        return of_input, of_weight, None, None


def _of_weight(ctx: Any, g_NCHW: Tensor, x_NCHW: Tensor, weight: Tensor) -> Tensor:
    (tall, wide), (above, left) = weight.shape[2:], ctx.padding
    # What one part sees of the input, and how much input there must be for all parts.
    seen = [(size - 1) * step + _PART for size, step in zip(g_NCHW.shape[2:], ctx.stride, strict=True)]
    rows, columns = (_PART * ((kernel - 1) // _PART) for kernel in (tall, wide))
    below, right = (
        seen[axis] + last - x_NCHW.shape[2 + axis] - before
        for axis, last, before in ((0, rows, above), (1, columns, left))
    )
    padded = F.pad(x_NCHW, (left, right, above, below))
    part = weight.new_empty(len(weight), 1, _PART, _PART)
    gradient = weight.new_empty(len(weight), 1, rows + _PART, columns + _PART)
    for row in range(0, tall, _PART):
        for column in range(0, wide, _PART):
            moved = padded[:, :, row : row + seen[0], column : column + seen[1]]
            found = _gradients(ctx, g_NCHW, moved, part, (0, 0), (False, True, False))[1]
            gradient[:, :, row : row + _PART, column : column + _PART] = found
    return gradient[:, :, :tall, :wide]


def _gradients(
    ctx: FunctionCtx, g: Tensor, x: Tensor, weight: Tensor, padding: tuple[int, int], wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    stride: tuple[int, int] = ctx.stride  # type: ignore[attr-defined]
    found: tuple[Tensor, Tensor, Tensor] = _backward(
        g, x, weight, None, stride, padding, (1, 1), False, (0, 0), len(weight), wanted
    )
    return found
