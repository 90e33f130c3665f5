"""Where a weak device should stop: as late as it can without holding up the others.

A later cut sends less, an earlier one computes less. Nobody can make a round faster than the slowest device at its best
cut, so that is the pace; every device uploads after the latest layer at which it keeps it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ecofed.config.schema import Config
from ecofed.costs.calendar import Visit
from ecofed.costs.clock import Clock
from ecofed.costs.forecast import Forecast
from ecofed.costs.rounds import Fleet
from ecofed.costs.steps import Script, Stop, device_memory
from ecofed.costs.workload import Workload

#: A device may be so much slower than the pace before it sends more for it.
SLACK = 1.1


def keep_pace(seconds: Sequence[Mapping[str, float]]) -> list[str]:
    """The cut of each kind of device.

    Args:
        seconds: for each kind, the time of one upload by cut, from the earliest to the common one; at least one cut.
    """
    pace = max(min(of_cuts.values()) for of_cuts in seconds)
    return [[cut for cut, each in of_cuts.items() if each <= SLACK * pace][-1] for of_cuts in seconds]


def visit_seconds(
    script: type[Script], config: Config, work: Workload, cuts: Sequence[str], samples: Sequence[int], fleet: Fleet
) -> list[dict[str, float]]:
    """For each kind of device in the fleet, the time of one upload alone, by cut; cuts that do not fit are left out.

    Args:
        script: the method.
        config: the run.
        work: its costs; ``work.early`` has the fronts that end at ``cuts``, in their order.
        cuts: from the earliest to the common one.
        samples: training samples of each device: of uploads the mean counts, of memory the most.
        fleet: who takes part.
    """
    mean = round(sum(samples) / len(samples))
    rows: list[dict[str, float]] = []
    needs: dict[str, int] = {}
    for device in range(min(len(samples), fleet.kinds)):
        row = {}
        for cut, early in zip(cuts, work.early, strict=True):
            alone = dataclasses.replace(work, early=(early,))
            shares = [mean] * (device + 1)
            forecast = Forecast(script, config, alone, shares)
            needs[cut] = device_memory(forecast.steps(Stop(samples=max(samples))), config.batch_size)
            time = Clock(script, config, alone, shares, fleet).round(forecast.exchanges([Visit(device, view=1)]))
            if needs[cut] <= fleet.machine(device).free_bytes:
                row[cut] = time.seconds
        rows.append(row or {min(needs, key=lambda cut: needs[cut]): 0.0})
    return rows
