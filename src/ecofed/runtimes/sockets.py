"""Messages over a socket, and the hello that opens a connection.

Hello (56 bytes, little-endian): magic ``EcoH``, version (u8), three reserved zero bytes, device (u32), incarnation
(16 random bytes, drawn when a device starts), token (28 bytes). The server answers ``EcoW`` or closes. After it,
messages of :mod:`ecofed.wire` only, one request and one reply at a time. A hello is part of connecting, as TCP's own
packets are, and is not in the ledger.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ecofed.errors import WireError
from ecofed.wire import HEADER_BYTES, payload_length

TOKEN_BYTES = 28
INCARNATION_BYTES = 16
WELCOME = b"EcoW"
_HELLO = struct.Struct(f"<4sB3sI{INCARNATION_BYTES}s{TOKEN_BYTES}s")
_MAGIC, _VERSION = b"EcoH", 1
#: Memory for a message is taken as it arrives, so that a length that is only claimed costs nothing.
_CHUNK_BYTES = 1 << 20
#: A machine that has lost its power, or whose way here is gone, says no farewell: after so long without a sign of it,
#: not even of its kernel, the connection is lost.
SILENCE_SECONDS = 45
_FIRST_PROBE_SECONDS, _PROBES = 15, 6


@dataclass(frozen=True, kw_only=True)
class Hello:
    """Who is calling."""

    device: int
    incarnation: bytes
    """Changes when the device is started anew, and has forgotten everything."""
    token: bytes

    def encode(self) -> bytes:
        return _HELLO.pack(_MAGIC, _VERSION, bytes(3), self.device, self.incarnation, self.token)

    @classmethod
    def decode(cls, data: bytes, token: bytes) -> Hello:
        """Inverse of :meth:`encode`.

        Raises:
            WireError: not a hello of this protocol and version, or one with another token.
        """
        magic, version, reserved, device, incarnation, presented = _HELLO.unpack(data)
        if magic != _MAGIC or version != _VERSION or any(reserved):
            raise WireError("not an EcoFed hello")
        if not hmac.compare_digest(presented, token):
            raise WireError("a hello with a wrong token")
        return cls(device=device, incarnation=incarnation, token=presented)


class Connection:
    """A socket that carries whole messages. ``deadline`` is a value of ``time.monotonic()``.

    Every method raises ``TimeoutError`` after the deadline, another ``OSError`` when the connection is lost.
    """

    def __init__(self, sock: socket.socket) -> None:
        # Requests and replies alternate: a small one must not wait for more data to fill a packet.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _probe(sock)
        self._socket = sock

    def send(self, data: bytes, deadline: float | None) -> None:
        """Send all of it."""
        self._socket.settimeout(_remaining(deadline))
        with _silence():
            self._socket.sendall(data)

    def receive(self, deadline: float | None) -> bytes:
        """One whole message.

        Raises:
            WireError: what arrives is not the header of a message.
        """
        header = self._take(HEADER_BYTES, deadline)
        return header + self._take(payload_length(header), deadline)

    def receive_hello(self, token: bytes, deadline: float | None) -> Hello:
        """The first bytes of a device; :class:`WireError` unless they are a hello with this token."""
        return Hello.decode(self._take(_HELLO.size, deadline), token)

    def receive_welcome(self, deadline: float | None) -> None:
        """The server's answer to a hello."""
        if self._take(len(WELCOME), deadline) != WELCOME:
            raise ConnectionRefusedError("the server did not say welcome")

    def has_input(self) -> bool:
        """Whether something can be read: bytes that nobody asked for, or the end of the connection."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def close(self) -> None:
        """End the connection; whoever waits for it in another thread is woken."""
        with contextlib.suppress(OSError):  # the other side was first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _take(self, count: int, deadline: float | None) -> bytes:
        pieces = []
        while count:
            self._socket.settimeout(_remaining(deadline))
            with _silence():
                piece = self._socket.recv(min(count, _CHUNK_BYTES))
            if not piece:
                raise ConnectionResetError("the other side closed the connection")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)


def _probe(sock: socket.socket) -> None:
    """Have the kernel ask whether the other side is there still, where the system lets it be told how often."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    every = (SILENCE_SECONDS - _FIRST_PROBE_SECONDS) // _PROBES
    wanted = {
        "TCP_KEEPIDLE": _FIRST_PROBE_SECONDS,
        "TCP_KEEPALIVE": _FIRST_PROBE_SECONDS,  # the same, on macOS
        "TCP_KEEPINTVL": every,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": 1000 * SILENCE_SECONDS,  # of what was sent and not acknowledged
    }
    for name, value in wanted.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The kernel has given up: that is a lost connection, and no deadline."""
    try:
        yield
    except TimeoutError as error:
        if error.errno != errno.ETIMEDOUT:
            raise
        raise ConnectionResetError(f"no sign of the other side for {SILENCE_SECONDS} s") from error


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("the deadline has passed")
    return remaining
