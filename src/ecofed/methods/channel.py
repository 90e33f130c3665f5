"""How a method talks to devices: messages in, bytes over a transport, every byte in the ledger.

A device that dies, freezes, comes late or answers nonsense costs only itself. That is decided here, once for all
methods: they see the devices that answered, and :meth:`Channel.visit` raises where those are fewer than the quorum.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

from ecofed.costs.availability import Availability, needed_devices
from ecofed.costs.exchange import Exchange
from ecofed.costs.ledger import Ledger
from ecofed.errors import DeviceError, WireError
from ecofed.errors.foreign_text import clean
from ecofed.methods.asking import Ask as Ask
from ecofed.methods.asking import Sent
from ecofed.methods.at_once import in_order
from ecofed.methods.attempts import Attempts
from ecofed.methods.refusals import LEFT_OUT, BelowQuorumError, DivergedError, LostError, RefusedError, SaidNoError
from ecofed.methods.transport import Answer, Transport
from ecofed.slow_work import counted
from ecofed.wire import Encoded, Failure, Message, decode, encode

M = TypeVar("M", bound=Message)
T = TypeVar("T")
U = TypeVar("U")


class Channel:
    """Encodes, sends, records and decodes.

    Args:
        quorum: the share of the devices asked (at most 1), or their number (above 1), that must answer.
        deadline_seconds: how long devices have in a round.
        availability: simulates devices that come and go; default: all are always there.
        at_once: how many devices' answers are worked on at the same time; results do not depend on it.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        *,
        quorum: float = 1.0,
        deadline_seconds: float | None = None,
        availability: Availability | None = None,
        at_once: int = 1,
    ) -> None:
        self.at_once = at_once
        self._transport = transport
        self.ledger = ledger
        self._quorum = quorum
        self._deadline_seconds = deadline_seconds
        self._deadline: float | None = None
        self._availability = availability
        self._round: int | None = None
        self._attempt: list[Sent] = []
        self._notes: list[str] = []
        self._last_encoded: tuple[Message, Encoded] | None = None
        self.exchanges: list[Exchange] = []
        """What the devices that were asked in this round sent and were sent, for the clock; retransmissions apart."""
        self.answered = 0
        """Devices that were asked in this round and answered as they should."""
        self.asked = 0
        self.took_part: set[int] = set()
        """Those that were asked in this round and left out of nothing since: their answers count."""
        self.ever_answered = False
        """Whether a device has, in any round."""
        self.device_seconds = 0.0
        """Wall time spent waiting for devices."""
        self.when_forgotten: Callable[[int], None] = lambda _device: None
        """Called with a device that was started anew and knows nothing any more."""
        self.too_late: Callable[[Sequence[Exchange], int], str] = lambda _exchanges, _round: ""
        """Why a device's exchanges in a round took too long by the clock; empty: they did not."""
        self.waited = False
        """Whether a device was too late in this round."""

    def start_round(self, round_: int | None = None) -> None:
        """The round's deadline runs from now. Without a number it is none of the run's: everybody is there."""
        self._round, self.waited = round_, False
        seconds = self._deadline_seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._notes = []
        self.exchanges = []
        self.answered = self.asked = 0
        self.took_part = set()

    @property
    def notes(self) -> list[str]:
        """What happened to devices in this round, one line each."""
        return list(self._notes)

    def visit(
        self,
        devices: Sequence[int],
        opening: Callable[[int], Sequence[Ask]],
        use: Callable[[int, Sequence[Message]], T],
        *,
        optional: bool = False,
        settled: int = 0,
    ) -> Iterator[tuple[int, T]]:
        """Ask each device, and make something of its answers; yields in the order of ``devices``.

        ``opening(device)`` is what to ask; devices work on it at the same time. ``use(device, replies)`` is called in
        device order, and may ask on (:meth:`ask`). It must change nothing but its result: when the connection breaks
        the device is visited again. What it raises (DeviceError, WireError, ModelError) leaves out this device only.
        ``settled`` devices of the round have been asked before and answered: they count as devices that answered.
        A failed visit's bytes are retransmissions if it was repeated, otherwise they count as what they are.

        Raises:
            BelowQuorumError: after the last device, if too few answered (never with ``optional``).
            RefusedError: every single one answered that it cannot, or training diverged with every one. One device
                alone is only believed where nobody has answered otherwise yet.
        """
        visits = self._visits(devices, opening, use, optional=optional)
        return self._judged(devices, visits, optional=optional, settled=settled)

    def visit_and_train(
        self,
        devices: Sequence[int],
        opening: Callable[[int], Sequence[Ask]],
        use: Callable[[int, Sequence[Message]], T],
        train: Callable[[T], U],
    ) -> Iterator[tuple[int, U]]:
        """:meth:`visit`, and ``train`` on what ``use`` made of each device's answers, on several at the same time.

        So ``use`` must not depend on what was trained, and ``train``, whose errors count as those of ``use``, must
        change nothing and ask nobody.
        """

        def trained(visit: tuple[int, T | Exception]) -> tuple[int, U | Exception]:
            device, made = visit
            try:
                return device, made if isinstance(made, Exception) else train(made)
            except LEFT_OUT as error:
                return device, error

        visits = self._visits(devices, opening, use, optional=False)
        return self._judged(devices, in_order(trained, visits, self.at_once), optional=False, settled=0)

    def _visits(
        self,
        devices: Sequence[int],
        opening: Callable[[int], Sequence[Ask]],
        use: Callable[[int, Sequence[Message]], T],
        *,
        optional: bool,
    ) -> Iterator[tuple[int, T | Exception]]:
        """What was made of each device's answers, or why it is left out."""
        present = self._present(devices)
        pending: dict[int, Sequence[tuple[Ask, Encoded]]] = {}

        def outgoing() -> Iterator[tuple[int, Sequence[bytes]]]:
            for device in present:
                pending[device] = self._prepare(opening(device))
                yield device, [encoded.data for _, encoded in pending[device]]

        exchanges = counted(self._transport.exchange_all(outgoing(), self._deadline), len(present), "devices")
        while (arrived := self._wait(lambda: next(exchanges, None))) is not None:
            device, answer = arrived
            made: T | Exception
            try:
                before = len(self.exchanges)
                made = self._visit_one(device, pending.pop(device), answer, opening, use)
                if not optional:
                    self._check_time(before)
            except LEFT_OUT as error:
                made = error
            yield device, made

    def _judged(
        self, devices: Sequence[int], visits: Iterator[tuple[int, T | Exception]], *, optional: bool, settled: int
    ) -> Iterator[tuple[int, T]]:
        """Those that went well; then whether they are enough."""
        asked, answered, refusals = 0, 0, []
        for device, made in visits:
            asked += 1
            if not isinstance(made, Exception):
                answered += 1
                self.took_part.add(device)
                yield device, made
                continue
            self.took_part.discard(device)
            if isinstance(made, (SaidNoError, DivergedError)):
                refusals.append(f"device {device}: {made}")
            self._note(device, made, "left out of this round")
        if optional:
            return
        self.asked, self.answered = self.asked + asked + settled, self.answered + answered + settled
        self.ever_answered |= self.answered > 0
        if devices and len(refusals) == len(devices) and not settled and (len(devices) > 1 or not self.ever_answered):
            raise RefusedError(refusals[0])
        needed = needed_devices(self._quorum, len(devices) + settled)
        if answered + settled < needed:
            raise BelowQuorumError(f"{answered} of {len(devices)} devices answered, {needed} are needed")

    def broadcast(
        self,
        devices: Sequence[int],
        request: Message,
        reply: type[M],
        use: Callable[[int, M], T],
        *,
        settled: int = 0,
    ) -> Iterator[tuple[int, T]]:
        """:meth:`visit` with one request that is the same for all."""
        opening = [Ask(request=request, reply=reply)]
        return self.visit(
            devices, lambda _: opening, lambda device, replies: use(device, cast(M, replies[0])), settled=settled
        )

    def ask(self, device: int, request: Message, *replies: type[M]) -> M:
        """One more request to the device that is being visited.

        Raises:
            DeviceError: the device was lost, failed, or answered with a message that is not one of ``replies``.
        """
        prepared = self._prepare([Ask(request=request, reply=replies)])
        data = [encoded.data for _, encoded in prepared]
        answer = self._wait(lambda: self._transport.exchange(device, data, self._deadline))
        return cast(M, self._open(device, prepared, answer)[0])

    def _visit_one(
        self,
        device: int,
        prepared: Sequence[tuple[Ask, Encoded]],
        answer: Answer,
        opening: Callable[[int], Sequence[Ask]],
        use: Callable[[int, Sequence[Message]], T],
    ) -> T:
        attempts = Attempts()
        while True:
            self._attempt = []
            before = len(self.exchanges)
            repeated = False
            try:
                return use(device, self._open(device, prepared, answer))
            except LostError as error:
                del self.exchanges[before:]
                attempts.failed(sent=answer.sent > 0)
                if error.lost.forgot:
                    self.when_forgotten(device)
                repeated = error.lost.again and attempts.left and not self._is_late()
                if not repeated:
                    raise
                if answer.sent:
                    self._note(device, error, "asked again")
            finally:
                for entry in self._attempt:
                    self.ledger.record(entry.direction, entry.by_kind, retransmission=entry.retransmission or repeated)
            self._wait(lambda: attempts.pause(self._deadline))
            prepared = self._prepare(opening(device))
            data = [encoded.data for _, encoded in prepared]
            answer = self._wait(lambda data=data: self._transport.exchange(device, data, self._deadline))  # type: ignore[misc]

    def _prepare(self, asks: Sequence[Ask]) -> list[tuple[Ask, Encoded]]:
        return [(ask, self._encode(ask.request)) for ask in asks]

    def _encode(self, message: Message) -> Encoded:
        # The same request to many devices is encoded once: a whole network is tens of megabytes.
        if self._last_encoded is None or self._last_encoded[0] is not message:
            self._last_encoded = (message, encode(message))
        return self._last_encoded[1]

    def _open(self, device: int, prepared: Sequence[tuple[Ask, Encoded]], answer: Answer) -> list[Message]:
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
                    moved = Exchange(device=device, **names, downlink=encoded.by_kind, uplink=by_kind)
                    self.exchanges.append(moved)
            if ask.counted:
                self._attempt.append(Sent("uplink", by_kind, ask.retransmission))
        if problem is not None:
            self._transport.drop(device)
            raise problem
        for (ask, _), message in zip(prepared, messages, strict=False):
            self._check(device, ask, message)
        if answer.lost is not None:
            raise LostError(answer.lost)
        if len(messages) < len(prepared):
            raise DeviceError(f"answered {len(messages)} of {len(prepared)} requests")
        return messages

    def _check(self, device: int, ask: Ask, message: Message) -> None:
        """The reply must be one to this request: of its kind, and of its round."""
        if isinstance(message, Failure):
            raise SaidNoError(message.reason)
        expected = ask.reply if isinstance(ask.reply, tuple) else (ask.reply,)
        if not isinstance(message, expected):
            self._transport.drop(device)
            names = " or ".join(cls.__name__ for cls in expected)
            raise DeviceError(f"answered {type(message).__name__} where {names} was expected")
        asked_round, round_ = getattr(ask.request, "round", None), getattr(message, "round", None)
        if None not in (asked_round, round_) and asked_round != round_:
            self._transport.drop(device)
            raise DeviceError(f"answered for round {round_} in round {asked_round}")

    def _present(self, devices: Sequence[int]) -> list[int]:
        """Those that can be reached in this round."""
        if self._availability is None or self._round is None:
            return list(devices)
        present = [device for device in devices if self._availability.is_there(device, self._round)]
        away = [str(device) for device in devices if device not in present]
        if away:
            self._notes.append(f"away, and left out of this round: {', '.join(away)}")
        return present

    def _check_time(self, before: int) -> None:
        """Raise :class:`DeviceError` for a device that took too long by the clock; its bytes count all the same."""
        reason = self.too_late(self.exchanges[before:], self._round or 0)
        if reason:
            del self.exchanges[before:]
            self.waited = True
            raise DeviceError(reason)

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _note(self, device: int, error: Exception, consequence: str) -> None:
        self._notes.append(clean(f"device {device}: {error}; {consequence}"))

    def _wait(self, what: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return what()
        finally:
            self.device_seconds += time.perf_counter() - started
