"""How many networks of devices are trained at the same time."""

from __future__ import annotations

import copy

import torch

from ecofed.machine import cores, free_bytes
from ecofed.runs.preparation import Prepared

#: What one takes: weights, gradients, momentum, and weights on their way in both directions.
_COPIES = 8


def networks_at_once(prepared: Prepared) -> int:
    """As many as there are cores, and memory for; on a GPU one. No result depends on it."""
    if prepared.torch_device.type != "cpu":
        return 1
    config, free = prepared.task.config, free_bytes()
    each = _COPIES * sum(value.nbytes for value in prepared.model.state_dict().values())
    room = config.sampled_devices if free is None else free // (2 * each)
    most = min(cores() // config.threads, config.sampled_devices, room)
    return 1 if most < 2 or _draws(prepared) else most


@torch.no_grad()
def _draws(prepared: Prepared) -> bool:
    """Whether a pass in training draws random numbers, as dropout does: several threads would not keep their order."""
    task = prepared.task
    x_NCHW = torch.zeros(2, task.in_channels, task.input_size, task.input_size)
    with torch.random.fork_rng(devices=[]):
        before = torch.get_rng_state()
        copy.deepcopy(prepared.model).train()(x_NCHW)
        return not torch.equal(before, torch.get_rng_state())
