"""The trained network on the device, for predictions there."""

from __future__ import annotations

import os
from pathlib import Path

from ecofed.errors import DeviceError, StorageError
from ecofed.files.disk import write_bytes
from ecofed.wire import Acknowledge, InstallNetwork


class KeptNetwork:
    """Writes what it is sent to ``path``, for ``ecofed predict``; a simulated device, without a path, keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def install(self, request: InstallNetwork) -> Acknowledge:
        """Replace the file in one step, so that a prediction meanwhile reads the old or the new one, whole."""
        if self._path is not None:
            if not self._path.parent.is_dir():
                raise DeviceError(f"{self._path.name}: cannot be written (its folder is not there)")
            try:
                write_bytes(self._path, request.network)
            except StorageError as error:
                # The server is told why, and not where on this device.
                raise DeviceError(str(error).removeprefix(f"{self._path.parent}{os.sep}")) from error
        return Acknowledge(round=request.round)
