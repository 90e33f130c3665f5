"""What every kind of device does with bytes that arrive: decode, answer or refuse, encode. Nothing else crosses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ecofed.config.methods import facts_of
from ecofed.config.task import Task
from ecofed.errors import EcoFedError, WireError
from ecofed.wire import Failure, InstallNetwork, Message, decode, encode

Handlers = Mapping[type[Message], Callable[[Any], Message]]


class Answering:
    """One device. It answers what its task's method asks for, and nothing that only another method would: in a run that
    sends codes, a request for the images themselves is refused. What a user or the network can cause becomes a
    ``Failure`` reply; a bug raises.

    Args:
        task: whose method it is.
        handlers: what this kind of device can do.
        own: what the method brings itself.
    """

    cannot: ClassVar[str] = "this device cannot do it"
    """Said where the method asks for what this kind of device has no handler for."""

    def __init__(self, task: Task, handlers: Handlers, own: Handlers | None = None) -> None:
        self._method = task.config.method
        self._asked = {InstallNetwork.__name__, *facts_of(self._method).requests}
        self._handlers, self._own = handlers, own or {}

    def handle(self, request: bytes) -> bytes:
        """Answer one encoded request."""
        try:
            message, _ = decode(request)
            return encode(self._handler(type(message))(message)).data
        except EcoFedError as error:
            return encode(Failure(reason=str(error))).data

    def _handler(self, kind: type[Message]) -> Callable[[Any], Message]:
        if kind in self._own:
            return self._own[kind]
        if kind.__name__ not in self._asked:
            raise WireError(f"{kind.__name__} is not a request that a device in a run of {self._method} answers")
        if kind not in self._handlers:
            raise WireError(f"{kind.__name__}: {self.cannot}")
        return self._handlers[kind]
