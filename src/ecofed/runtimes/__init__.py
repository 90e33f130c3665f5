"""Runtimes carry bytes between a method and devices."""

from __future__ import annotations

from collections.abc import Callable

from ecofed.config.task import Task
from ecofed.devices import DeviceWorker
from ecofed.methods.transport import Transport
from ecofed.runtimes.in_process import InProcessTransport
from ecofed.runtimes.processes import ProcessesTransport

__all__ = ["InProcessTransport", "ProcessesTransport", "open_transport"]


def open_transport(
    task: Task, make_worker: Callable[[int], DeviceWorker], torch_device: str = "cpu", *, at_once: int = 1
) -> Transport:
    """The transport of the configured runtime. ``make_worker`` and ``at_once`` are about devices in this process only:
    :class:`InProcessTransport`."""
    if task.config.runtime == "processes":
        return ProcessesTransport(task, torch_device)
    return InProcessTransport(make_worker, at_once)
