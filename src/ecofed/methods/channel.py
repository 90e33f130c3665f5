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
from ecofed.errors import DeviceError
from ecofed.errors.foreign_text import clean
from ecofed.methods.asking import Ask as Ask
from ecofed.methods.at_once import in_order
from ecofed.methods.refusals import (
    LEFT_OUT,
    AskedWronglyError,
    BelowQuorumError,
    DivergedError,
    RefusedError,
    SaidNoError,
)
from ecofed.methods.transport import Answer, Transport
from ecofed.methods.visiting import Encodings, Visit
from ecofed.results.untrained import LEFT_OUT as LEFT_OUT_OF_IT
from ecofed.slow_work import counted
from ecofed.wire import Encoded, Message, encode

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
        devices: how many there are, where that is known.
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
        devices: int | None = None,
    ) -> None:
        self.at_once = at_once
        self._devices = devices
        self._transport = transport
        self.ledger = ledger
        self._quorum = quorum
        self._deadline_seconds = deadline_seconds
        self._deadline: float | None = None
        self._availability = availability
        self._round: int | None = None
        self._visited: dict[int, Visit] = {}
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
        independent: bool = False,
    ) -> Iterator[tuple[int, T]]:
        """Ask each device, and make something of its answers; yields in the order of ``devices``.

        ``opening(device)`` is what to ask; devices work on it at the same time. ``use(device, replies)`` is called in
        device order, and may ask on (:meth:`ask`). It must change nothing but its result: when the connection breaks
        the device is visited again. What it raises (DeviceError, WireError, ModelError) leaves out this device only.
        ``settled`` devices of the round have been asked before and answered: they count as devices that answered.
        ``independent``: ``use`` does not depend on what came of other devices, and several may be visited at the same
        time. A failed visit's bytes are retransmissions if it was repeated, otherwise they count as what they are.

        Raises:
            BelowQuorumError: after the last device, if too few answered (never with ``optional``).
            RefusedError: every single one answered that it cannot, or training diverged with every one. One device
                alone is only believed where nobody has answered otherwise yet.
        """
        visits = self._visits(devices, opening, use, optional=optional, independent=independent)
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
        independent: bool = False,
    ) -> Iterator[tuple[int, T | Exception]]:
        """What was made of each device's answers, or why it is left out."""
        self._check_asked(devices)
        present = self._present(devices)
        pending: dict[int, Encodings] = {}
        at_once = self.at_once if independent and self._transport.exchanges_at_once else 1

        def outgoing() -> Iterator[tuple[int, Sequence[bytes]]]:
            for device in present:
                pending[device] = self._prepare(opening(device))
                yield device, [encoded.data for _, encoded in pending[device]]

        def arriving() -> Iterator[tuple[int, Answer]]:
            exchanges = counted(self._transport.exchange_all(outgoing(), self._deadline), len(present), "devices")
            while (arrived := self._wait(lambda: next(exchanges, None))) is not None:
                yield arrived

        def visited(arrived: tuple[int, Answer]) -> tuple[Visit, T | Exception]:
            device, answer = arrived
            visit = self._visited[device] = Visit(device, self._transport, self._deadline)
            try:
                return visit, visit.make(
                    pending.pop(device), answer, lambda: self._prepare(opening(device)), use, self.when_forgotten
                )
            except LEFT_OUT as error:
                return visit, error
            finally:
                del self._visited[device]

        for visit, made in in_order(visited, arriving(), at_once):
            for entry in visit.sent:
                self.ledger.record(entry.direction, entry.by_kind, retransmission=entry.retransmission)
            self._notes += visit.notes
            self.device_seconds += visit.seconds / at_once
            late = "" if optional or isinstance(made, Exception) else self.too_late(visit.exchanges, self._round or 0)
            if late:  # its bytes count all the same
                self.waited = True
            else:
                self.exchanges += visit.exchanges
            yield visit.device, DeviceError(late) if late else made

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
            if not optional:  # otherwise it has done its part before
                self.took_part.discard(device)
            if isinstance(made, (SaidNoError, DivergedError)):
                refusals.append(f"device {device}: {made}")
            self._note(device, made)
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
        return self._visited[device].ask(request, *replies)

    def _prepare(self, asks: Sequence[Ask]) -> Encodings:
        return [(ask, self._encode(ask.request)) for ask in asks]

    def _encode(self, message: Message) -> Encoded:
        # The same request to many devices is encoded once: a whole network is tens of megabytes.
        if self._last_encoded is None or self._last_encoded[0] is not message:
            self._last_encoded = (message, encode(message))
        return self._last_encoded[1]

    def _check_asked(self, devices: Sequence[int]) -> None:
        """Raise :class:`AskedWronglyError` for a device that there is not, or one that stands there twice."""
        seen: set[int] = set()
        for device in devices:
            if self._devices is not None and not 0 <= device < self._devices:
                known = f"0 to {self._devices - 1}"
                raise AskedWronglyError(f"device {device}, and they are {known}; ask those of 'sampled'")
            if device in seen:
                raise AskedWronglyError(f"device {device} twice in one visit; name each once")
            seen.add(device)

    def _present(self, devices: Sequence[int]) -> list[int]:
        """Those that can be reached in this round."""
        if self._availability is None or self._round is None:
            return list(devices)
        present = [device for device in devices if self._availability.is_there(device, self._round)]
        away = [str(device) for device in devices if device not in present]
        if away:
            self._notes.append(f"away, and left out of this round: {', '.join(away)}")
        return present

    def _note(self, device: int, error: Exception) -> None:
        self._notes.append(clean(f"device {device}: {error}{LEFT_OUT_OF_IT}"))

    def _wait(self, what: Callable[[], T]) -> T:
        started = time.perf_counter()
        try:
            return what()
        finally:
            self.device_seconds += time.perf_counter() - started
