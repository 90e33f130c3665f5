"""Starts device processes, and starts them again when they die: ``python -m ecofed.runtimes.device_host``.

Reads its standard input: first the :class:`Installation` as a line of JSON, then one line per device to start, its
number. At the end of input (the server closed it, or died) all devices end. PyTorch is imported once here; devices are
forked, which takes milliseconds instead of seconds.

Nobody outlives the server, stopped (SIGSTOP) or not: on Linux the kernel ends the host with the server and devices with
the host (:mod:`ecofed.runtimes.lifetime`); elsewhere devices, which see the server's end too, end a host that does not.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
import traceback
from typing import NoReturn

from ecofed.devices.worker import DeviceWorker  # noqa: F401 - imported before the first fork, to be shared
from ecofed.runtimes.device_process import Device, Installation
from ecofed.runtimes.lifetime import end_with_parent

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
#: How long devices leave it to the host to end them when the server is gone.
_GRACE_SECONDS = 5.0
#: A device that lived this long died of something new: the next start does not wait.
_HEALTHY_SECONDS = 10.0


class DeviceHost:
    """The parent of a run's device processes."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._process = os.getpid()
        self._devices: dict[int, int] = {}
        """Device by process id."""
        self._started: dict[int, float] = {}
        self._pause: dict[int, float] = {}
        self._due: dict[int, float] = {}
        """When to start a device (again)."""
        # Devices hold the reading end: it reports the end of this process, however that comes about.
        self._life_end, self._life = os.pipe()
        self._wake_end, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def run(self, lines: bytes) -> None:
        """Start, restart; until the end of input. ``lines`` is what was read of it already."""
        try:
            while True:
                for line in lines.split():
                    self._due[int(line)] = 0.0
                self._reap()
                self._start_due()
                wait = max(0.0, min(self._due.values()) - time.monotonic()) if self._due else None
                readable, _, _ = select.select([0, self._wake_end], [], [], wait)
                if self._wake_end in readable:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_end, 4096)
                lines = b""
                if 0 in readable:
                    lines = read_lines()
                    if not lines:
                        return
        finally:
            self._stop()

    def _reap(self) -> None:
        while self._devices:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            device = self._devices.pop(process)
            if status == 0:
                continue  # it gave up: the server is gone
            lived = time.monotonic() - self._started[device]
            pause = 0.0 if lived > _HEALTHY_SECONDS else self._pause.get(device, 0.0)
            self._due[device] = time.monotonic() + pause
            self._pause[device] = min(max(2 * pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def _start_due(self) -> None:
        now = time.monotonic()
        for device in [device for device, due in self._due.items() if due <= now]:
            del self._due[device]
            if device in self._devices.values():
                continue
            process = os.fork()
            if not process:
                self._be(device)
            self._devices[process] = device
            self._started[device] = now

    def _be(self, device: int) -> NoReturn:
        """In the forked process: be the device, and never return into the host's code."""
        code = 1
        try:
            end_with_parent(self._process)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            server_end = os.dup(0)  # the input that ends with the server; what comes through it is not ours
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor in (self._life, self._wake, self._wake_end):
                os.close(descriptor)
            threading.Thread(target=_end_with, args=(self._life_end, server_end), daemon=True).start()
            Device(self._installation, device).serve()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _stop(self) -> None:
        for process in self._devices:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)  # also ends one that is stopped
        for process in self._devices:
            os.waitpid(process, 0)


def _end_with(life_end: int, server_end: int) -> None:
    """End this device with its host; and the host, too, if the server is gone and the host does not notice."""
    host, either, host_alone = os.getppid(), select.poll(), select.poll()
    # No events are asked for, so that only the end of the other side is reported.
    either.register(life_end, 0)
    either.register(server_end, 0)
    host_alone.register(life_end, 0)
    either.poll()
    host_alone.poll(int(1000 * _GRACE_SECONDS))
    if os.getppid() == host:
        with contextlib.suppress(ProcessLookupError):
            os.kill(host, signal.SIGKILL)
    os._exit(1)


def read_lines() -> bytes:
    """What has arrived on standard input, up to the end of a line; empty at the end of input."""
    data = b""
    while not data.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            return b""
        data += piece
    return data


def main() -> None:
    """Run this process."""
    first, _, rest = read_lines().partition(b"\n")
    if first:
        DeviceHost(Installation.from_json(first.decode())).run(rest)
    os._exit(0)  # nothing is left to tidy up, and an interpreter with PyTorch takes a while to do it


if __name__ == "__main__":
    main()
