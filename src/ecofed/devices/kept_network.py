"""The trained network on the device, for predictions there."""

from __future__ import annotations

from pathlib import Path

from ecofed.errors import DeviceError
from ecofed.wire import Acknowledge, InstallNetwork


class KeptNetwork:
    """Writes what it is sent to ``path``, for ``ecofed predict``; a simulated device, without a path, keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def install(self, request: InstallNetwork) -> Acknowledge:
        """Replace the file in one step, so that a prediction meanwhile reads the old or the new one, whole."""
        if self._path is not None:
            temporary = self._path.with_name(f".{self._path.name}")
            try:
                temporary.write_bytes(request.network)
                temporary.replace(self._path)
            except OSError as error:
                raise DeviceError(f"the network cannot be written to {self._path.name} ({error.strerror})") from error
        return Acknowledge(round=request.round)
