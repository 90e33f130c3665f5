"""What is asked of a device, and what went over the wire for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ecofed.wire import Message


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request to one device."""

    request: Message
    reply: type[Message] | tuple[type[Message], ...]
    """What it may answer."""
    counted: bool = True
    """``False`` keeps the exchange out of the ledger (a front that is taken to be on the device already)."""
    retransmission: bool = False
    """The device was told this before, and has lost it."""


@dataclass(frozen=True)
class Sent:
    """Bytes of one message, for the ledger."""

    direction: str
    by_kind: Mapping[str, int]
    retransmission: bool
