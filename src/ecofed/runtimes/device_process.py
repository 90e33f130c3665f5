"""A device in a process of its own: connects to the server, and answers until it is stopped."""

from __future__ import annotations

import json
import secrets
import socket
import time
from dataclasses import asdict, dataclass

from ecofed.config.registry import load_plugin, messages_of
from ecofed.config.task import Task
from ecofed.devices import DeviceWorker
from ecofed.devices.starting import load_worker
from ecofed.errors import EcoFedError, WireError
from ecofed.files.disk import json_text
from ecofed.runtimes.sockets import INCARNATION_BYTES, Connection, Hello
from ecofed.wire import Failure, encode, speak

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 2.0
_GREETING_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Installation:
    """What a device is given before it starts; it never travels in a round and is not in the ledger."""

    host: str
    port: int
    token: str
    """Hexadecimal; the secret of this run."""
    task: str
    """:meth:`ecofed.config.task.Task.to_json`."""
    torch_device: str = "cpu"
    plugins: tuple[str, ...] = ()
    """Files and modules on this machine that the device loads first."""
    patience_seconds: float = 60.0
    """How long a device tries to reach a server that is not there (yet, or any more)."""

    def to_json(self) -> str:
        return json_text(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Installation:
        values = json.loads(text)
        return cls(**{**values, "plugins": tuple(values.get("plugins", ()))})


class Device:
    """One device. What it was sent survives a lost connection, but not its process."""

    def __init__(self, installation: Installation, number: int) -> None:
        self._installation = installation
        self._number = number
        self._incarnation = secrets.token_bytes(INCARNATION_BYTES)
        self._worker: DeviceWorker | None = None
        self._broken = self._learn()

    def _learn(self) -> EcoFedError | None:
        """Load the run's plug-ins, before the first of their messages arrives. What is wrong with them is answered."""
        try:
            for plugin in self._installation.plugins:
                load_plugin(plugin)
            if self._installation.plugins:
                speak(messages_of(Task.from_json(self._installation.task).config.method))
        except EcoFedError as error:
            return error
        return None

    def serve(self) -> None:
        """Answer requests; returns when the server cannot be reached any more."""
        pause = 0.0
        while (connection := self._connect()) is not None:
            try:
                while True:
                    self.serve_one(connection)
                    pause = 0.0
            except (OSError, WireError):
                pass  # connect again: the server may have dropped a connection that it no longer trusts
            finally:
                connection.close()
            # A server that greets and hangs up, again and again, is not asked as fast as this machine can.
            time.sleep(pause)
            pause = min(max(2 * pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def serve_one(self, connection: Connection) -> None:
        """Answer the next request, whenever it comes."""
        connection.send(self.answer(connection.receive(None)), None)

    def _connect(self) -> Connection | None:
        """Try, with growing pauses, until the patience is at its end."""
        pause, end = _FIRST_PAUSE_SECONDS, time.monotonic() + self._installation.patience_seconds
        while time.monotonic() < end:
            try:
                return self._greet()
            except OSError:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return None

    def _greet(self) -> Connection:
        place = (self._installation.host, self._installation.port)
        deadline = time.monotonic() + _GREETING_SECONDS
        connection = Connection(socket.create_connection(place, timeout=_GREETING_SECONDS))
        try:
            token = bytes.fromhex(self._installation.token)
            hello = Hello(device=self._number, incarnation=self._incarnation, token=token)
            connection.send(hello.encode(), deadline)
            connection.receive_welcome(deadline)
        except OSError:
            connection.close()
            raise
        return connection

    def answer(self, request: bytes) -> bytes:
        """The reply to a request."""
        if self._worker is None:
            # At the first request, so that a device without data can say so.
            installation = self._installation
            try:
                if self._broken is not None:
                    raise self._broken
                task = Task.from_json(installation.task)
                self._worker = load_worker(task, self._number, installation.torch_device)
            except EcoFedError as error:
                return encode(Failure(reason=str(error))).data
        return self._worker.handle(request)
