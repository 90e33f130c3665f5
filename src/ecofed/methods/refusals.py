"""Why a device is left out of a round, or a round of the run, as errors."""

from __future__ import annotations

from ecofed.errors import DeviceError, EcoFedError, ModelError, WireError
from ecofed.methods.transport import Lost

#: What leaves out a device, and nobody else.
LEFT_OUT = (DeviceError, WireError, ModelError)


class BelowQuorumError(DeviceError):
    """Too few devices answered for the round to count."""


class AskedWronglyError(EcoFedError):
    """A method asks devices that cannot be asked so."""


class RefusedError(DeviceError):
    """No device that was asked can do it: the run itself is at fault."""


class DivergedError(DeviceError):
    """Training with a device's data gave numbers that are not finite."""


class SaidNoError(DeviceError):
    """A device answered ``Failure``."""


class LostError(DeviceError):
    """A device did not answer."""

    def __init__(self, lost: Lost) -> None:
        super().__init__(lost.reason)
        self.lost = lost
