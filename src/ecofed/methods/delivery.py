"""What comes after the last round of any method: the trained network goes to the devices, which may test it."""

from __future__ import annotations

from collections.abc import Iterator

from ecofed.config.network_input import images_at_once
from ecofed.config.schema import Config
from ecofed.costs.steps import Script, Step, Stop, Work, split
from ecofed.costs.workload import Workload
from ecofed.models.registry import input_side
from ecofed.wire import Acknowledge, Counted, CountRight, InstallNetwork
from ecofed.wire.sizes import ArrayShape


class Delivery(Script):
    """Read by forecast and clock as a method's script is. ``Stop.samples`` are those that a device holds out."""

    name = "delivery"

    @classmethod
    def visit(cls, config: Config, work: Workload, stop: Stop) -> Iterator[Step]:
        """The network, and a pass over the device's own test samples."""
        yield Step(request=InstallNetwork, down={"network": work.network_bytes}, reply=Acknowledge)
        if config.validation.on_devices:
            counts = ArrayShape((work.classes,), "u4")
            batches = split(stop.samples, images_at_once(input_side(config.model)))
            yield Step(
                request=CountRight,
                reply=Counted,
                up={"samples_K": counts, "right_K": counts},
                device=[Work("infer", work.trained, batches)],
            )
