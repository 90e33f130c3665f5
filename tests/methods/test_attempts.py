"""How often a device is asked again that is lost whenever it is asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import pytest

from ecofed.costs.ledger import Ledger
from ecofed.methods import Channel
from ecofed.methods.channel import Ask
from ecofed.methods.refusals import BelowQuorumError
from ecofed.methods.transport import Answer, Lost
from ecofed.wire import Acknowledge, SendImages, encode


class Unsteady:
    """Loses its one device so many times, before anything was sent or after it; then the device answers."""

    exchanges_at_once = False

    def __init__(self, times: float, *, sent: int, forgot: bool = False) -> None:
        self.asked = 0
        self._times = times
        self._sent = sent
        self._forgot = forgot

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:  # noqa: ARG002
        self.asked += 1
        assert self.asked < 1000, "asked for ever"
        if self.asked > self._times:
            return Answer(replies=[encode(Acknowledge(round=1)).data], sent=1)
        lost = Lost(reason="spoke out of turn", again=True, forgot=self._forgot)
        return Answer(replies=[], sent=self._sent, lost=lost)

    def exchange_all(
        self, requests: Iterable[tuple[int, Sequence[bytes]]], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        for device, of_device in requests:
            yield device, self.exchange(device, of_device, deadline)

    def drop(self, device: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, which take no time; a deadline sees them."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(pauses))
    return pauses


def visit(transport: Unsteady, deadline_seconds: float | None = None) -> list[int]:
    channel = Channel(transport, Ledger(), deadline_seconds=deadline_seconds)
    channel.start_round(1)
    ask = Ask(request=SendImages(round=1, quality=80, size=0), reply=Acknowledge)
    return [device for device, _ in channel.visit([0], lambda _: [ask], lambda _device, replies: replies)]


@pytest.mark.parametrize("forgot", [False, True])
def test_a_device_that_nothing_can_be_sent_to_is_left_out_at_last(clock: list[float], forgot: bool) -> None:
    transport = Unsteady(float("inf"), sent=0, forgot=forgot)
    with pytest.raises(BelowQuorumError, match="0 of 1 devices"):
        visit(transport)
    assert transport.asked == 20
    assert clock == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 12])


def test_one_that_bytes_were_sent_to_sooner(clock: list[float]) -> None:
    transport = Unsteady(float("inf"), sent=1)
    with pytest.raises(BelowQuorumError, match="0 of 1 devices"):
        visit(transport)
    assert transport.asked == 5
    assert clock == []


def test_nobody_pauses_beyond_the_deadline(clock: list[float]) -> None:
    transport = Unsteady(float("inf"), sent=0)
    with pytest.raises(BelowQuorumError, match="0 of 1 devices"):
        visit(transport, deadline_seconds=1.0)
    assert sum(clock) == pytest.approx(1.0)
    assert list(itertools.accumulate(clock)) == pytest.approx([0.05, 0.15, 0.35, 0.75, 1.0])


@pytest.mark.parametrize(("times", "sent"), [(1, 0), (19, 0), (4, 1)])
def test_a_device_that_comes_to_itself_takes_part(clock: list[float], times: int, sent: int) -> None:
    transport = Unsteady(times, sent=sent)
    assert visit(transport) == [0]
    assert transport.asked == times + 1
    assert len(clock) == max(0, times - 1) * (sent == 0)
