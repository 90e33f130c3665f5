"""The clock of a run that is about to start."""

from __future__ import annotations

from collections.abc import Mapping

from ecofed.costs.clock import Clock
from ecofed.costs.steps import Stop, steps_of
from ecofed.errors import ModelError
from ecofed.methods import method_class
from ecofed.planning.cut_network import build_workload, counted_network, stand_in_bundle
from ecofed.runs.preparation import Prepared


def clock_of(prepared: Prepared, seen: Mapping[int, int] | None = None) -> Clock | None:
    """The clock for a prepared run, on the fleet that its configuration names.

    Args:
        prepared: the run.
        seen: how many of each device's samples an earlier run has, which it is not asked for again.

    ``None`` where the costs of the network's halves cannot be told (a cut after which activations are flat).

    Raises:
        ConfigError: a profile that does not exist or cannot be read; steps of a plug-in's method that are none.
    """
    task = prepared.task
    network = counted_network(task.config, task.in_channels, task.classes)
    cut = prepared.halves.layer
    try:
        bundle = prepared.bundle or stand_in_bundle(task.config, network, cut, task.in_channels)
    except ModelError:
        return None
    work = build_workload(
        task.config,
        network,
        cut,
        in_channels=task.in_channels,
        classes=task.classes,
        bundle=bundle,
        device_cuts=[cut if early is None else early.cut for early in prepared.early],
    )
    script = method_class(task.config.method)
    known = seen or {}
    samples = [max(0, len(part) - known.get(device, 0)) for device, part in enumerate(prepared.parts)]
    steps_of(script, task.config, work, Stop(samples=max(samples, default=1)))  # before the first round is trained
    return Clock(script, task.config, work, samples)
