"""What a runtime provides to methods: bytes to devices and back, and the truth about devices that are lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Why a device did not answer all of its requests."""

    reason: str
    """For a note: ``connection lost``, ``no answer before the round's deadline``."""
    again: bool
    """Asking again can help: the device is back, or may come back before the deadline."""
    forgot: bool = False
    """The device was started anew: what it was told before is gone."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a list of requests to one device."""

    replies: Sequence[bytes]
    """One a request, in their order; fewer when the device was lost on the way."""
    sent: int
    """How many of the requests were handed to the wire."""
    lost: Lost | None = None


class Transport(Protocol):
    """Bytes only. ``deadline`` is a value of ``time.monotonic()``, ``None`` without one."""

    exchanges_at_once: ClassVar[bool]
    """``exchange`` may be called for several devices at the same time, from several threads."""

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:
        """Send requests to a device, one after the other's reply."""
        ...

    def exchange_all(
        self, requests: Iterable[tuple[int, Sequence[bytes]]], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        """Send to several devices, at the same time where the runtime can; answers come in the order of ``requests``.

        ``requests`` may be drawn on ahead of the answers.
        """
        ...

    def drop(self, device: int) -> None:
        """Forget what is still under way from a device that does not keep to the protocol."""
        ...

    def close(self) -> None:
        """Release devices."""
        ...
