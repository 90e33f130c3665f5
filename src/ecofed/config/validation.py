"""The section ``[validation]``: samples that nothing is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ecofed.config.fields import Needs, require


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Samples of devices that are held out of training, to judge the network where the server has no test images."""

    fraction: float = 0.0
    """The share of every device's samples that is held out, drawn for each sample: no view of it is ever trained on.
    They are uploaded as the others are, and the server finds out how many of them the network gets right: in all, by
    class and by device. Needs a method whose uploads it keeps, or ``on_devices``."""
    on_devices: bool = False
    """The held-out samples do not leave the device, in no form: after training every device runs the finished network
    on its own and answers with counts alone, how many of each class it has and how many of them are right. For every
    method that trains a network; needs ``delivery``, which brings it to the devices."""

    NEEDS: ClassVar[Needs] = {"on_devices": ("validation.fraction above 0", lambda own: own.fraction > 0)}

    def __post_init__(self) -> None:
        require(0 <= self.fraction < 1, "validation.fraction", self.fraction, "must be at least 0 and below 1")
        rule = "needs validation.fraction above 0: the share that devices do not train on"
        require(self.fraction > 0 or not self.on_devices, "validation.on_devices", self.on_devices, rule)

    @property
    def on_server(self) -> bool:
        """Whether the server holds samples out of what it was sent."""
        return self.fraction > 0 and not self.on_devices
