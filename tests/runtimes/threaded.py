"""Devices in threads of the test: real sockets, no start-up time, and a script for what goes wrong."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ecofed.runs.preparation import Prepared
from ecofed.runtimes import ProcessesTransport
from ecofed.runtimes.device_process import Device
from ecofed.runtimes.sockets import INCARNATION_BYTES, Connection

#: What a device does instead of answering a request as it should.
Mishap = Callable[["ScriptedDevice", Connection, bytes], None]


class ScriptedDevice(Device):
    """A device whose n-th request meets the n-th mishap of its script; ``None`` is a proper answer."""

    script: deque[Mishap | None]

    def serve_one(self, connection: Connection) -> None:
        request = connection.receive(None)
        mishap = self.script.popleft() if self.script else None
        if mishap is None:
            connection.send(self.answer(request), None)
        else:
            mishap(self, connection, request)

    def start_anew(self) -> None:
        """As if the process had died and another had been started."""
        self._incarnation = secrets.token_bytes(INCARNATION_BYTES)
        self._worker = None


def hang_up(_device: ScriptedDevice, _connection: Connection, _request: bytes) -> None:
    raise ConnectionResetError


def break_off(device: ScriptedDevice, connection: Connection, request: bytes) -> None:
    """Lose the connection in the middle of an upload."""
    reply = device.answer(request)
    connection.send(reply[: len(reply) // 2], None)
    raise ConnectionResetError


def die(device: ScriptedDevice, _connection: Connection, _request: bytes) -> None:
    device.start_anew()
    raise ConnectionResetError


def die_in_mid_upload(device: ScriptedDevice, connection: Connection, request: bytes) -> None:
    reply = device.answer(request)
    connection.send(reply[: len(reply) // 2], None)
    die(device, connection, request)


def answer_twice(device: ScriptedDevice, connection: Connection, request: bytes) -> None:
    reply = device.answer(request)
    connection.send(reply + reply, None)


def speak_out_of_turn(device: ScriptedDevice, connection: Connection, request: bytes) -> None:
    answer_twice(device, connection, request)
    connection.send(b"and another thing", None)


def talk_nonsense(_device: ScriptedDevice, connection: Connection, _request: bytes) -> None:
    connection.send(b"GET / HTTP/1.1\r\nHost: nowhere\r\n\r\n", None)
    connection.receive(None)


def answer_late(seconds: float) -> Mishap:
    """Also a device that freezes: longer than the deadline."""

    def late(device: ScriptedDevice, connection: Connection, request: bytes) -> None:
        reply = device.answer(request)
        time.sleep(seconds)
        connection.send(reply, None)

    return late


@contextmanager
def threaded(
    prepared: Prepared, scripts: Mapping[int, list[Mishap | None]] | None = None
) -> Iterator[ProcessesTransport]:
    """A transport with all of its devices in threads."""
    transport = ProcessesTransport(prepared.task, start_devices=False)
    installation = dataclasses.replace(transport.installation, patience_seconds=0.5)
    threads = []
    for number in range(prepared.task.config.devices):
        device = ScriptedDevice(installation, number)
        device.script = deque((scripts or {}).get(number, []))
        threads.append(threading.Thread(target=device.serve))
        threads[-1].start()
    try:
        yield transport
    finally:
        transport.close()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
