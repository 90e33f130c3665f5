"""Devices in this process: the same bytes as over a network, on a wire of length zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ecofed.devices import DeviceWorker
from ecofed.methods.transport import Answer


class InProcessTransport:
    """Hands request bytes to workers, made when first needed. Nobody is ever lost, so deadlines do not matter."""

    def __init__(self, make_worker: Callable[[int], DeviceWorker]) -> None:
        self._make_worker = make_worker
        self._workers: dict[int, DeviceWorker] = {}

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:  # noqa: ARG002
        if device not in self._workers:
            self._workers[device] = self._make_worker(device)
        return Answer(replies=[self._workers[device].handle(request) for request in requests], sent=len(requests))

    def exchange_all(
        self, requests: Iterable[tuple[int, Sequence[bytes]]], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        for device, of_device in requests:
            yield device, self.exchange(device, of_device, deadline)

    def drop(self, device: int) -> None:
        pass

    def close(self) -> None:
        self._workers.clear()
