"""PyTorch's SGD and AdamW without its compiler: the same steps, and a process that starts in half the time.

In PyTorch 2.13 the first optimiser of a process imports ``torch._dynamo``, for those who compile their training: as
much time as PyTorch itself takes to import, and 70 MB, in the server and in every device. The methods that do so are
wrappers around those that do the work. These are called here; where a version has no wrappers nothing changes.
"""

from __future__ import annotations

from inspect import unwrap
from typing import Any

import torch


class _WithoutCompiler(torch.optim.Optimizer):
    """The methods that all optimisers share, without their wrappers."""

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class SGD(_WithoutCompiler, torch.optim.SGD):
    """Stochastic gradient descent, with momentum and weight decay."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step along the gradients; ``closure`` as for PyTorch's own."""
        return unwrap(torch.optim.SGD.step)(self, closure)


class AdamW(_WithoutCompiler, torch.optim.AdamW):
    """Adam with decoupled weight decay."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step along the gradients; ``closure`` as for PyTorch's own."""
        return unwrap(torch.optim.AdamW.step)(self, closure)
