"""One device's part of a round: what is asked of it, what it answers, and asking again where its connection breaks.

It writes down what happens and changes nothing else, so that several devices can be visited at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeAlias, TypeVar, cast

from ecofed.costs.exchange import Exchange
from ecofed.errors import DeviceError, WireError
from ecofed.errors.foreign_text import clean
from ecofed.methods.asking import Ask, Sent
from ecofed.methods.attempts import Attempts
from ecofed.methods.refusals import LostError, SaidNoError
from ecofed.methods.transport import Answer, Transport
from ecofed.wire import Encoded, Failure, Message, decode, encode

M = TypeVar("M", bound=Message)
T = TypeVar("T")

#: Requests, and what goes over the wire for them.
Encodings: TypeAlias = Sequence[tuple[Ask, Encoded]]


class Visit:
    """What one device and the server have sent each other in a round."""

    def __init__(self, device: int, transport: Transport, deadline: float | None) -> None:
        self.device = device
        self._transport, self._deadline = transport, deadline
        self.sent: list[Sent] = []
        """For the ledger."""
        self.exchanges: list[Exchange] = []
        """For the clock."""
        self.notes: list[str] = []
        self.seconds = 0.0
        """Spent waiting for the device, after its first answer."""
        self._attempt: list[Sent] = []

    def make(
        self,
        prepared: Encodings,
        answer: Answer,
        again: Callable[[], Encodings],
        use: Callable[[int, Sequence[Message]], T],
        forgotten: Callable[[int], None],
    ) -> T:
        """What ``use`` makes of the answers; where the connection breaks, of those to the next attempt.

        Args:
            prepared: what the device has been asked.
            answer: to that.
            again: the same for another attempt.
            use: may ask on.
            forgotten: called with a device that was started anew.
        """
        attempts = Attempts()
        while True:
            self._attempt, self.exchanges = [], []
            repeated = False
            try:
                return use(self.device, self._open(prepared, answer))
            except LostError as error:
                self.exchanges = []
                attempts.failed(sent=answer.sent > 0)
                if error.lost.forgot:
                    forgotten(self.device)
                repeated = error.lost.again and attempts.left and not self._is_late()
                if not repeated:
                    raise
                if answer.sent:
                    self.notes.append(clean(f"device {self.device}: {error}; asked again"))
            finally:
                self.sent += [
                    Sent(entry.direction, entry.by_kind, entry.retransmission or repeated) for entry in self._attempt
                ]
            self._waited(lambda: attempts.pause(self._deadline))
            prepared = again()
            answer = self._exchange(prepared)

    def ask(self, request: Message, *replies: type[M]) -> M:
        """One more request.

        Raises:
            DeviceError: the device was lost, failed, or answered with a message that is not one of ``replies``.
        """
        prepared = [(Ask(request=request, reply=replies), encode(request))]
        return cast(M, self._open(prepared, self._exchange(prepared))[0])

    def _exchange(self, prepared: Encodings) -> Answer:
        data = [encoded.data for _, encoded in prepared]
        return self._waited(lambda: self._transport.exchange(self.device, data, self._deadline))

    def _open(self, prepared: Encodings, answer: Answer) -> list[Message]:
        """Record an exchange and decode its replies."""
        for ask, encoded in prepared[: answer.sent]:
            if ask.counted:
                self._attempt.append(Sent("downlink", encoded.by_kind, ask.retransmission))
        messages, problem = [], None
        for (ask, encoded), reply in zip(prepared, answer.replies, strict=False):
            try:
                message, by_kind = decode(reply)
            except WireError as error:
                problem = problem or error
                by_kind = {"control": len(reply)}
            else:
                messages.append(message)
                if ask.counted and not ask.retransmission:
                    names = {"request": type(ask.request).__name__, "reply": type(message).__name__}
                    moved = Exchange(device=self.device, **names, downlink=encoded.by_kind, uplink=by_kind)
                    self.exchanges.append(moved)
            if ask.counted:
                self._attempt.append(Sent("uplink", by_kind, ask.retransmission))
        if problem is not None:
            self._transport.drop(self.device)
            raise problem
        for (ask, _), message in zip(prepared, messages, strict=False):
            self._check(ask, message)
        if answer.lost is not None:
            raise LostError(answer.lost)
        if len(messages) < len(prepared):
            raise DeviceError(f"answered {len(messages)} of {len(prepared)} requests")
        return messages

    def _check(self, ask: Ask, message: Message) -> None:
        """The reply must be one to this request: of its kind, and of its round."""
        if isinstance(message, Failure):
            raise SaidNoError(message.reason)
        expected = ask.reply if isinstance(ask.reply, tuple) else (ask.reply,)
        if not isinstance(message, expected):
            self._transport.drop(self.device)
            names = " or ".join(cls.__name__ for cls in expected)
            raise DeviceError(f"answered {type(message).__name__} where {names} was expected")
        asked_round, round_ = getattr(ask.request, "round", None), getattr(message, "round", None)
        if None not in (asked_round, round_) and asked_round != round_:
            self._transport.drop(self.device)
            raise DeviceError(f"answered for round {round_} in round {asked_round}")

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _waited(self, what: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return what()
        finally:
            self.seconds += time.perf_counter() - started
