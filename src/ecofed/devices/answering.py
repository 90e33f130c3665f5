"""What every kind of device does with bytes that arrive: decode, answer or refuse, encode. Nothing else crosses."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ecofed.config.methods import facts_of
from ecofed.config.task import Task
from ecofed.devices.kept_network import KeptNetwork
from ecofed.devices.local_images import LocalImages
from ecofed.devices.local_test import LocalTest
from ecofed.errors import DeviceError, EcoFedError, WireError
from ecofed.wire import CountRight, Failure, InstallNetwork, Message, decode, encode


class Answering:
    """One device. It answers what its task's method asks for, and nothing that only another method would: in a run that
    sends codes, a request for the images themselves is refused. What a user or the network can cause becomes a
    ``Failure`` reply; a bug raises.

    Args:
        task: whose method it is.
        data: the device's images.
        side: the method's side on this device; ``None`` where it has none.
        network: where to write the trained network, if it is delivered.
        refusal: said after the name of any other request.
    """

    def __init__(
        self, task: Task, data: LocalImages, side: Any, network: Path | None, refusal: str | None = None
    ) -> None:
        self._refusal = refusal or f"is not a request that a device in a run of {task.config.method} answers"
        answers = {} if side is None else {request: getattr(side, name) for request, name in side.answers.items()}
        self._handlers: dict[type[Message], Callable[[Any], Message]] = answers
        self._protection = data.protection
        kept = KeptNetwork(network, LocalTest(task, data))
        self._handlers |= {InstallNetwork: kept.install, CountRight: kept.count}

    def handle(self, request: bytes) -> bytes:
        """Answer one encoded request."""
        try:
            message, _ = decode(request)
            handler = self._handlers.get(type(message))
            if handler is None:
                raise WireError(f"{type(message).__name__} {self._refusal}")
            self._protect(message)
            return encode(self._answer(handler, message)).data
        except EcoFedError as error:
            return encode(Failure(reason=str(error))).data

    def _answer(self, handler: Callable[[Any], Message], message: Message) -> Message:
        return handler(message)

    def _protect(self, message: Message) -> None:
        """Raise :class:`DeviceError` for what this device's owner does not allow: it is not the server's to decide."""
        if isinstance(message, InstallNetwork):
            return
        if refusal := self._protection.refusal:
            raise DeviceError(refusal)
        if isinstance(message, CountRight) and self._protection.counts_stay:
            raise DeviceError("privacy: exact counts of right answers do not leave this device")


def side_of(method: str) -> Any:
    """The class that is a method's side on devices, or ``None``."""
    named = facts_of(method).Device
    if isinstance(named, str):
        module, _, name = named.partition(":")
        return getattr(import_module(module), name)
    return named
