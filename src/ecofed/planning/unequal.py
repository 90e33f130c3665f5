"""Unequal devices: because the front is frozen, a weak device may stop at an earlier layer and the server goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ecofed.config.methods import facts_of
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.costs.clock import fleet_of
from ecofed.costs.profiles import dealt
from ecofed.costs.rounds import Fleet
from ecofed.errors import ConfigError, nearest
from ecofed.methods import method_class
from ecofed.planning.counting import CountedNetwork
from ecofed.planning.cut_network import build_workload, counted_network
from ecofed.planning.pace import keep_pace, visit_seconds
from ecofed.pretraining.bundling import early_bundle
from ecofed.wire import FrontBundle


def early_fronts(
    task: Task, cut: str, bundle: FrontBundle | None, samples: Sequence[int], note: Callable[[str], None]
) -> tuple[FrontBundle | None, ...]:
    """What each device is sent: device ``d`` has entry ``d % len``; ``None`` is the whole front.

    Args:
        task: the run.
        cut: the common cut.
        bundle: the front of a method whose devices may stop early; ``None`` for another's.
        samples: training samples of each device.
        note: is told who stops where.

    Raises:
        ConfigError: ``ecofed.device_cuts`` names what is not a layer before the cut, or a profile that does not exist.
    """
    settings = task.config.ecofed
    if bundle is None or settings.device_cuts is None:
        return (None,)
    network = counted_network(task.config, task.in_channels, task.classes)
    fleet = fleet_of(task.config)
    cuts = device_cuts(
        task.config,
        network,
        cut,
        samples,
        in_channels=task.in_channels,
        classes=task.classes,
        bundle=bundle,
        fleet=fleet,
    )
    bits = None if settings.lossless_early else settings.early_bits
    fronts = {name: early_bundle(bundle, name, bits) for name in dict.fromkeys(cuts) if name != cut}
    if settings.device_cuts == "auto":
        chosen = dict.fromkeys(
            f"{fleet.machine(d).name} on {fleet.link(d).name}: {name}" for d, name in enumerate(cuts)
        )
        note(f"devices stop where they keep up with the slowest ({'; '.join(chosen)})")
    return tuple(fronts.get(name) for name in cuts)


def device_cuts(
    config: Config,
    network: CountedNetwork,
    cut: str,
    samples: Sequence[int],
    *,
    in_channels: int,
    classes: int,
    bundle: FrontBundle,
    fleet: Fleet,
    lenient: bool = False,
) -> list[str]:
    """The last layer that each device runs, dealt to the devices; ``cut`` is the common one.

    The bundle's arrays may stand for themselves, as in :func:`ecofed.planning.cut_network.build_workload`.
    ``lenient``: a layer that is not before the cut stands for the cut. Raises as :func:`early_fronts`.
    """
    pattern = config.ecofed.device_cuts
    if not facts_of(config.method).stops_early or pattern is None:
        return [cut]
    depth = len(network.halves(cut)[0].layers)
    earlier = [name for name in network.cuts if len(network.halves(name)[0].layers) < depth]
    if pattern != "auto":
        chosen = dealt(pattern, "ecofed.device_cuts:")
        if lenient:
            return [name if name in earlier else cut for name in chosen]
        for name in chosen:
            if name not in (*earlier, cut):
                advice = f"{nearest(name, earlier)}; choose from {', '.join((*earlier, cut))}, or auto"
                raise ConfigError(f"ecofed.device_cuts = '{pattern}': '{name}' is not a layer before the cut{advice}")
        return chosen
    candidates = [*(name for name in earlier if "." not in name), cut]
    work = build_workload(
        config,
        network,
        cut,
        in_channels=in_channels,
        classes=classes,
        bundle=bundle,
        device_cuts=candidates,
    )
    return keep_pace(visit_seconds(method_class(config.method), config, work, candidates, samples, fleet))
