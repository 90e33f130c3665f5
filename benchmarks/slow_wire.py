"""Slow links that are real: network namespaces, joined by wires of this program's making. Linux, root.

The server and every device live in a network namespace of their own. Between the server and a device runs a wire: a
TUN interface at either end, and a process that carries IP packets from one to the other as a link profile says, with
its bandwidth (packets wait for those before them), latency and loss (packets vanish, and TCP sends them again). TCP is
the kernel's own and knows nothing of it. ``tc`` with netem would do the same, where the kernel has it; not all have.

As a program it is that process: a line of JSON on standard input says which wires, further lines what to do.

    cut DEVICE BYTES     after so many more bytes from the device nothing passes in either direction
    mend DEVICE          as before
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from ecofed.costs.profiles import Link

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI, _CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
_MTU = 1500
#: Of IPv4 and of TCP with timestamps. A profile's rate is what a program achieves, so they travel for nothing.
_HEADER_BYTES = 52
#: Packets that would wait longer than this for those before them are dropped, as a router does.
_LONGEST_QUEUE_SECONDS = 0.5
SERVER = "server"


def why_not() -> str:
    """Why there can be no slow network here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    if shutil.which("ip") is None:
        return "network namespaces need the command ip (package iproute2)"
    if not Path("/dev/net/tun").exists():
        return "slow links need /dev/net/tun"
    name = f"ecofed-try-{os.getpid()}"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if tried.returncode:
        return "this machine does not allow network namespaces"
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return ""


class SlowNetwork:
    """A context manager: a server's namespace and one for each device, joined by one wire a device.

    Args:
        links: of the devices, in their order.
        seed: decides which packets are lost.
    """

    def __init__(self, links: Sequence[Link], seed: int = 0) -> None:
        self._links = links
        self._seed = seed
        self._prefix = f"ecofed-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
        self._names = [SERVER, *(f"device-{device}" for device in range(len(links)))]

    def __enter__(self) -> SlowNetwork:
        for name in self._names:
            _ip("netns", "add", self.namespace(name))
            _ip("-n", self.namespace(name), "link", "set", "lo", "up")
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        wires = [
            {
                "server": self.namespace(SERVER),
                "device": self.namespace(f"device-{device}"),
                "number": device,
                "uplink": link.uplink_bits_per_second,
                "downlink": link.downlink_bits_per_second,
                "latency": link.latency_seconds,
                "loss": link.loss,
                "seed": self._seed,
            }
            for device, link in enumerate(self._links)
        ]
        self._tell(json.dumps(wires))
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self.__exit__(None, None, None)
            raise OSError("the wires could not be made")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process, contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None
            self._process.stdin.close()  # it ends
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", self.namespace(name)], check=False)

    def namespace(self, name: str) -> str:
        """The namespace of ``server``, ``device-0``, ..."""
        return f"{self._prefix}-{name}"

    def address_of_server(self, device: int) -> str:
        """As this device knows the server."""
        return _addresses(device)[0]

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Sockets that this thread opens inside belong to the namespace, for as long as they live."""
        with open(f"/proc/self/task/{threading.get_native_id()}/ns/net", "rb") as home:
            _enter(self.namespace(name))
            try:
                yield
            finally:
                _set_namespace(home.fileno())

    def cut(self, device: int, after_bytes: int) -> None:
        """Cut a device's wire when it has sent so many more bytes."""
        self._tell(f"cut {device} {after_bytes}")

    def mend(self, device: int) -> None:
        """Undo :meth:`cut`."""
        self._tell(f"mend {device}")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


class _Direction:
    """One direction of a wire."""

    def __init__(
        self, source: int, target: int, bits_per_second: float, latency: float, loss: float, seed: str
    ) -> None:
        self.source = source
        self._target = target
        self._seconds_per_byte = 8 / bits_per_second
        self._latency = latency
        self._loss = loss
        self._random = random.Random(seed)
        self._free_at = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()
        self.bytes = 0

    def take(self, *, cut: bool) -> None:
        """Whatever has come out of the source."""
        while True:
            try:
                packet = os.read(self.source, _MTU + 64)
            except BlockingIOError:
                return
            now = time.monotonic()
            self.bytes += len(packet)
            start = max(now, self._free_at)
            if cut or self._random.random() < self._loss or start - now > _LONGEST_QUEUE_SECONDS:
                continue
            self._free_at = start + max(0, len(packet) - _HEADER_BYTES) * self._seconds_per_byte
            self._under_way.append((self._free_at + self._latency, packet))

    def deliver(self) -> float:
        """Hand over what is due; returns how long until the next is."""
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            with contextlib.suppress(OSError):  # the other end is not up
                os.write(self._target, self._under_way.popleft()[1])
        return max(0.0, self._under_way[0][0] - now) if self._under_way else 3600.0


def _carry(wires: Sequence[dict[str, object]]) -> None:
    """Be the wires until standard input ends."""
    pairs = [_laid(wire) for wire in wires]
    sources = {direction.source: (pair, direction) for pair in pairs for direction in pair}
    cut_after: dict[int, int] = {}
    print("ready", flush=True)
    os.set_blocking(0, False)
    while True:
        wait = min(direction.deliver() for pair in pairs for direction in pair)
        readable, _, _ = select.select([0, *sources], [], [], wait)
        if 0 in readable:
            data = os.read(0, 4096)
            if not data:
                return
            for line in data.decode().splitlines():
                order, number, *rest = line.split()
                uplink = pairs[int(number)][0]
                if order == "cut":
                    cut_after[int(number)] = uplink.bytes + int(rest[0])
                else:
                    cut_after.pop(int(number), None)
        for number, pair in enumerate(pairs):
            for direction in pair:
                if direction.source in readable:
                    direction.take(cut=pair[0].bytes >= cut_after.get(number, sys.maxsize))


def _laid(wire: dict[str, object]) -> tuple[_Direction, _Direction]:
    """Make one wire's interfaces; its uplink and its downlink."""
    number = int(str(wire["number"]))
    ends = []
    for name, own, other in zip(("device", "server"), reversed(_addresses(number)), _addresses(number), strict=True):
        namespace = str(wire[name])
        _enter(namespace)
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", f"wire{number}".encode(), _IFF_TUN | _IFF_NO_PI))
        _ip("address", "add", own, "peer", other, "dev", f"wire{number}")
        _ip("link", "set", f"wire{number}", "mtu", str(_MTU), "up")
        ends.append(end)
    rates = [float(str(wire[key])) for key in ("uplink", "downlink", "latency", "loss")]
    up = _Direction(ends[0], ends[1], rates[0], rates[2], rates[3], f"{wire['seed']} up {number}")
    down = _Direction(ends[1], ends[0], rates[1], rates[2], rates[3], f"{wire['seed']} down {number}")
    return up, down


def _addresses(number: int) -> tuple[str, str]:
    """Of the server's end and the device's."""
    return f"10.77.{number}.1", f"10.77.{number}.2"


def _enter(namespace: str) -> None:
    with open(f"/var/run/netns/{namespace}", "rb") as file:
        _set_namespace(file.fileno())


def _set_namespace(descriptor: int) -> None:
    """Of this thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    _carry(json.loads(sys.stdin.readline()))
