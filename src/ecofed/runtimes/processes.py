"""Each device in an operating-system process of its own, behind a socket on loopback: the twin of a deployment."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar

from ecofed.config.registry import plugins_to_pass_on
from ecofed.config.task import Task
from ecofed.errors import ConfigError, WireError
from ecofed.methods.transport import Answer, Lost
from ecofed.runtimes import lifetime
from ecofed.runtimes.device_process import Installation
from ecofed.runtimes.sockets import TOKEN_BYTES, WELCOME, Connection, Hello

#: How long a round waits for a device that is not connected.
REJOIN_SECONDS = 60.0
#: How many devices are spoken to at a time; replies not yet consumed count, because they take memory.
WINDOW = 16
_GREETING_SECONDS = 10.0
_MAX_GREETINGS = 64
_STOP_SECONDS = 10.0


class Seat:
    """A device's place: its present connection, and whether it is the device we knew."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._connection: Connection | None = None
        self._incarnation: bytes | None = None
        self._forgot = False
        self._closed = False

    def take(self, connection: Connection, incarnation: bytes) -> None:
        """A device has connected; an older connection of it is closed."""
        with self._changed:
            if self._closed:
                connection.close()
                return
            if self._connection is not None:
                self._connection.close()
            self._connection = connection
            self._forgot |= self._incarnation not in (None, incarnation)
            self._incarnation = incarnation
            self._changed.notify_all()

    def wait(self, deadline: float) -> tuple[Connection | None, bool]:
        """The connection as soon as there is one, and whether the device has been started anew since last time."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._connection is not None or self._closed, max(0.0, deadline - time.monotonic())
            )
            forgot, self._forgot = self._forgot and self._connection is not None, False
            return self._connection, forgot

    def leave(self, connection: Connection | None = None) -> None:
        """Close the connection (only this one, if given); the device may come back."""
        with self._changed:
            if self._connection is not None and connection in (None, self._connection):
                self._connection.close()
                self._connection = None

    def close(self) -> None:
        """For good."""
        self.leave()
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class ProcessesTransport:
    """Listens, starts devices when they are first needed, and exchanges messages with them.

    Args:
        task: handed to devices when they are started.
        torch_device: where devices compute.
        address: host and port to listen on; port 0 takes a free one.
        start_devices: ``False`` waits for devices that are started elsewhere, with :attr:`installation`.
    """

    exchanges_at_once: ClassVar[bool] = True

    def __init__(
        self,
        task: Task,
        torch_device: str = "cpu",
        *,
        address: tuple[str, int] = ("127.0.0.1", 0),
        start_devices: bool = True,
    ) -> None:
        if start_devices and not hasattr(os, "fork"):
            raise ConfigError("runtime = 'processes' needs Linux or macOS; use runtime=in-process")
        self._token = secrets.token_bytes(TOKEN_BYTES)
        self._seats = {device: Seat() for device in range(task.config.devices)}
        self._listener = socket.create_server(address, backlog=128)
        host, port = self._listener.getsockname()[:2]
        self.installation = Installation(
            host=host,
            port=port,
            token=self._token.hex(),
            task=task.to_json(),
            torch_device=torch_device,
            plugins=tuple(plugins_to_pass_on()),
        )
        self._host = _Host(self.installation) if start_devices else None
        self._pool = ThreadPoolExecutor(WINDOW, thread_name_prefix="ecofed-device")
        self._greetings = threading.BoundedSemaphore(_MAX_GREETINGS)
        self._acceptor = threading.Thread(target=self._accept, name="ecofed-acceptor", daemon=True)
        self._acceptor.start()

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:
        """One device. Thread-safe for different devices."""
        if self._host is not None:
            self._host.start(device)
        seat = self._seats[device]
        rejoined_by = time.monotonic() + REJOIN_SECONDS
        connection, forgot = seat.wait(rejoined_by if deadline is None else min(rejoined_by, deadline))
        if connection is None:
            return Answer(replies=[], sent=0, lost=Lost(reason="not connected", again=False))
        if forgot:
            return Answer(replies=[], sent=0, lost=Lost(reason="was started anew", again=True, forgot=True))
        replies: list[bytes] = []
        sent = 0
        try:
            for request in requests:
                if connection.has_input():
                    raise ConnectionResetError("spoke out of turn, or went away")
                connection.send(request, deadline)
                sent += 1
                replies.append(connection.receive(deadline))
        except TimeoutError:
            lost = Lost(reason="no answer before the round's deadline", again=False)
        except WireError as error:
            lost = Lost(reason=f"sent something that is no message ({error})", again=False)
        except (OSError, ValueError) as error:  # ValueError: closed by another thread between two calls
            lost = Lost(reason=f"connection lost ({error})", again=True)
        else:
            return Answer(replies=replies, sent=sent)
        seat.leave(connection)
        return Answer(replies=replies, sent=sent, lost=lost)

    def exchange_all(
        self, requests: Iterable[tuple[int, Sequence[bytes]]], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        """Several devices at a time; answers in the order of ``requests``."""
        waiting: deque[tuple[int, Future[Answer]]] = deque()
        for device, of_device in requests:
            waiting.append((device, self._pool.submit(self.exchange, device, of_device, deadline)))
            if len(waiting) == WINDOW:
                first, answer = waiting.popleft()
                yield first, answer.result()
        while waiting:
            first, answer = waiting.popleft()
            yield first, answer.result()

    def drop(self, device: int) -> None:
        """Close a device's connection: what was under way is lost, and the device connects anew."""
        self._seats[device].leave()

    def close(self) -> None:
        """End connections, threads and processes. May be called twice."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._listener.close()
        if self._host is not None:
            self._host.stop()
        for seat in self._seats.values():
            seat.close()
        self._pool.shutdown(cancel_futures=True)
        self._acceptor.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # closed
            if not self._greetings.acquire(blocking=False):
                sock.close()
                continue
            # In a thread of its own: a caller that says nothing must not keep others out.
            threading.Thread(target=self._greet, args=(sock,), daemon=True).start()

    def _greet(self, sock: socket.socket) -> None:
        connection = Connection(sock)
        deadline = time.monotonic() + _GREETING_SECONDS
        try:
            hello: Hello = connection.receive_hello(self._token, deadline)
            seat = self._seats.get(hello.device)
            if seat is None:
                raise WireError(f"no device {hello.device} in this run")
            connection.send(WELCOME, deadline)
            seat.take(connection, hello.incarnation)
        except (OSError, WireError):
            connection.close()  # a stray or hostile caller costs only itself
        finally:
            self._greetings.release()


class _Host:
    """The process that starts device processes (:mod:`ecofed.runtimes.device_host`)."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._lock = threading.Lock()
        self._asked: set[int] = set()
        self._process = self._launch()
        self._stopped = False

    def start(self, device: int) -> None:
        """Have a device running; the host keeps it so."""
        with self._lock:
            if self._stopped:
                return
            if self._process.poll() is not None:
                self._close_input()
                self._process = self._launch()
                self._asked = set()
            if device not in self._asked:
                self._asked.add(device)
                self._write(f"{device}\n")

    def stop(self) -> None:
        """End the host, which ends its devices."""
        with self._lock:
            self._stopped = True
            self._close_input()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _launch(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C at a terminal is for the server, which then ends its devices.
        # The thread that launches is the parent that the kernel watches; ours live until the host has been stopped.
        # One BLAS thread: the host forks, and a process that forks should have no threads.
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-I", lifetime.__file__, str(os.getpid())),
                *(*lifetime.own_python(), "-m", "ecofed.runtimes.device_host"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        self._write(self._installation.to_json() + "\n")
        return self._process

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: the next start launches another
            self._process.stdin.write(text.encode())
            self._process.stdin.flush()

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
