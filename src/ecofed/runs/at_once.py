"""How many networks of devices are trained at the same time."""

from __future__ import annotations

from ecofed.machine import cores, free_bytes
from ecofed.models.draws import is_random
from ecofed.runs.preparation import Prepared

#: What one takes: weights, gradients, momentum, and weights on their way in both directions.
_COPIES = 8


def networks_at_once(prepared: Prepared) -> int:
    """As many as there are cores, and memory for; on a GPU one. No result depends on it.

    One, too, where layers draw random numbers in training: several threads would not keep their order.
    """
    if prepared.torch_device.type != "cpu":
        return 1
    config, free = prepared.task.config, free_bytes()
    each = _COPIES * sum(value.nbytes for value in prepared.model.state_dict().values())
    room = config.sampled_devices if free is None else free // (2 * each)
    most = min(cores() // config.threads, config.sampled_devices, room)
    return 1 if most < 2 or is_random(prepared.model, prepared.task) else most
