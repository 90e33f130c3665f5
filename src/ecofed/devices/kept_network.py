"""The trained network on the device: for predictions there, and to find out how good it is."""

from __future__ import annotations

import os
from pathlib import Path

from ecofed.devices.local_test import LocalTest
from ecofed.errors import DeviceError, StorageError
from ecofed.files.disk import write_bytes
from ecofed.wire import Acknowledge, Counted, CountRight, InstallNetwork


class KeptNetwork:
    """Writes what it is sent to ``path``, for ``ecofed predict``; a simulated device has no path."""

    def __init__(self, path: Path | None, test: LocalTest | None = None) -> None:
        self._path = path
        self._test = test
        self._network: bytes | None = None
        """Until it was tested."""

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
        if self._test is not None and self._test.wanted:
            self._network = request.network
        return Acknowledge(round=request.round)

    def count(self, request: CountRight) -> Counted:
        """How many held-out samples of each class there are, and how many of them the network gets right."""
        if self._network is None or self._test is None:
            raise DeviceError("no network has been installed that this device could test")
        network, self._network = self._network, None
        samples_K, right_K = self._test.counts(network)
        return Counted(round=request.round, samples_K=samples_K, right_K=right_K)
