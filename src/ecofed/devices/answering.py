"""What every kind of device does with bytes that arrive: decode, answer or refuse, encode. Nothing else crosses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ecofed.config.methods import facts_of
from ecofed.config.registry import broken, check_message_of, check_side_of
from ecofed.config.registry.contract import kind_of
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
        self._method = task.config.method
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
            reply = self._answer(handler, message)
            self._check_reply(message, reply)
            return encode(reply).data
        except EcoFedError as error:
            return encode(Failure(reason=str(error))).data

    def _answer(self, handler: Callable[[Any], Message], message: Message) -> Message:
        return handler(message)

    def _check_reply(self, request: Message, reply: Any) -> None:
        """Raise :class:`ConfigError` for what a plug-in's side must not answer."""
        if not isinstance(reply, Message):
            rule = f"its device answers {type(request).__name__} with {kind_of(reply)}; it must return a message"
            raise broken("method", self._method, rule)
        check_message_of(self._method, type(reply))

    def _protect(self, message: Message) -> None:
        """Raise :class:`DeviceError` for what this device's owner does not allow: it is not the server's to decide."""
        if isinstance(message, InstallNetwork):
            return
        if refusal := self._protection.refusal:
            raise DeviceError(refusal)
        if isinstance(message, CountRight) and self._protection.counts_stay:
            raise DeviceError("privacy: exact counts of right answers do not leave this device")


def side_of(method: str) -> Any:
    """The class that is a method's side on devices, or ``None``.

    Raises:
        ConfigError: a plug-in names none there, or one that is not what such a class has to be.
    """
    named = facts_of(method).Device
    if not isinstance(named, str):
        return named
    place, _, name = named.partition(":")
    module = import_module(place) if _is_there(place) else None
    if not hasattr(module, name):
        raise broken("method", method, f"Device = '{named}': there is no such class; say 'module:Class'")
    side = getattr(module, name)
    check_side_of(method, side)
    return side


def _is_there(module: str) -> bool:
    """Whether there is such a module. What goes wrong in one that is there is not caught: its author must see it."""
    try:
        return module in sys.modules or find_spec(module) is not None
    except ModuleNotFoundError as error:  # of a package that it would be in
        if f"{module}.".startswith(f"{error.name}."):
            return False
        raise
    except ValueError:  # no name at all
        return False
