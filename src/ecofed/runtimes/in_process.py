"""Devices in this process: the same bytes as over a network, on a wire of length zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar

from ecofed.devices import DeviceWorker
from ecofed.methods.at_once import in_order
from ecofed.methods.transport import Answer


class InProcessTransport:
    """Hands request bytes to workers, made when first needed. Nobody is ever lost, so deadlines do not matter.

    Args:
        make_worker: of a device.
        at_once: how many devices answer at the same time; results do not depend on it.
    """

    exchanges_at_once: ClassVar[bool] = True

    def __init__(self, make_worker: Callable[[int], DeviceWorker], at_once: int = 1) -> None:
        self._make_worker = make_worker
        self._at_once = at_once
        self._workers: dict[int, DeviceWorker] = {}

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:  # noqa: ARG002
        if device not in self._workers:
            self._workers[device] = self._make_worker(device)
        return Answer(replies=[self._workers[device].handle(request) for request in requests], sent=len(requests))

    def exchange_all(
        self, requests: Iterable[tuple[int, Sequence[bytes]]], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        def answered(of_device: tuple[int, Sequence[bytes]]) -> tuple[int, Answer]:
            return of_device[0], self.exchange(*of_device, deadline)

        yield from in_order(answered, requests, self._at_once)

    def drop(self, device: int) -> None:
        pass

    def close(self) -> None:
        self._workers.clear()
