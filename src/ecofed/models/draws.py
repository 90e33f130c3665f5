"""Random numbers that layers draw while they train, as dropout does: keyed, as every other draw is.

Of the networks that come with the package none draws any. Who brings one of their own has the same results from the
same seed, also of a run that was stopped, and PyTorch's global generator is left as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ecofed.config.task import Task
from ecofed.models.own_networks import is_own
from ecofed.randomness import generator


def draws(name: str, build: Callable[[], tuple[nn.Module, Task]]) -> bool:
    """Whether the network of this name, which ``build`` gives with its task, draws random numbers in training."""
    return is_own(name) and is_random(*build())


@torch.no_grad()
def is_random(network: nn.Module, task: Task) -> bool:
    """Whether a pass in training draws random numbers."""
    place = next(network.parameters()).device
    x_NCHW = torch.zeros(2, task.in_channels, task.input_size, task.input_size, device=place)
    with torch.random.fork_rng():
        before = _states()
        copy.deepcopy(network).train()(x_NCHW)
        return any(not torch.equal(one, other) for one, other in zip(before, _states(), strict=True))


def _states() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


@contextmanager
def keyed_draws(
    wanted: bool, seed: int, purpose: str, *, device: int = 0, round_: int = 0, view: int = 0
) -> Iterator[None]:
    """What layers draw meanwhile follows from the key, where that is ``wanted``."""
    if not wanted:
        yield
        return
    key = generator(seed, purpose, device=device, round_=round_, view=view)
    with torch.random.fork_rng():
        torch.manual_seed(int(key.integers(2**63)))
        yield
