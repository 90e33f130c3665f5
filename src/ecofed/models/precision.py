"""Mixed precision while training: convolutions and matrix products in bfloat16, everything else as ever.

A property of a network, not of the code that trains it: parameters, optimisers, what it is given and what it returns
are float32, in training as in evaluation. Only its own forward (and so backward) pass differs, and only in training.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ecofed.models.depthwise import QuickDepthwise

Precision = Literal["auto", "float32", "bfloat16"]


def native_precision(device: torch.device | str = "cpu") -> Precision:
    """What ``auto`` is on a device: ``bfloat16`` where it multiplies such numbers itself; elsewhere they are slow."""
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch do not say
    return "bfloat16" if found.get("avx512_bf16") or found.get("amx_bf16") else "float32"


def set_precision(module: nn.Module, precision: Precision) -> nn.Module:
    """Train ``module`` in this precision, on the device where it is, from now on; copies of it, too. Returns it."""
    if precision == "auto":
        precision = native_precision(next((value.device for value in module.parameters()), "cpu"))
    if precision == "bfloat16":
        module.register_forward_pre_hook(_enter)
        module.register_forward_hook(_leave, always_call=True)
    return module


def _enter(module: nn.Module, arguments: tuple[Any, ...]) -> None:
    # Without autocast's cache: it would keep weights that an optimiser has changed since.
    device = arguments[0].device.type
    module.__dict__["_precision"] = stack = ExitStack()
    stack.enter_context(torch.autocast(device, dtype=torch.bfloat16, enabled=module.training, cache_enabled=False))
    if module.training and device == "cpu":
        stack.enter_context(QuickDepthwise())


def _leave(module: nn.Module, _arguments: tuple[Any, ...], output: Tensor | None) -> Tensor | None:
    """Also after a forward pass that failed: then there is no output."""
    module.__dict__.pop("_precision").close()
    return None if output is None else output.float()
