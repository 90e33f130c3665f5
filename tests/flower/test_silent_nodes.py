"""SuperNodes that never answer the run's greeting, or late: they hold up nobody else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flwr.app import Message
from local_grid import LocalGrid

from ecofed.config import Settings
from ecofed.errors import DeviceError
from ecofed.flower.content import Invitation
from ecofed.flower.transport import FlowerTransport
from ecofed.methods.transport import Answer
from ecofed.runs.preparation import prepare
from ecofed.wire import SendImages, encode

SETS = (
    "rounds=1 devices=2 sampled_devices=2 test_samples=20 initialisation=random model.name=lenet model.width=0.25 "
    "data.name=digits data.samples_per_device=20 front.name=random method=ecofed"
)
#: Longer than any of these tests may take.
PATIENCE = 20.0


@pytest.fixture(scope="module")
def invitation() -> Invitation:
    return Invitation(task=prepare(Settings.load(None, SETS.split()).for_method("ecofed"), lambda _: None).task)


class ChangingGrid(LocalGrid):
    """Nodes 1000, 1001, ...; ``silent`` ones never answer. ``when_looked_for`` is called whenever nodes are listed."""

    def __init__(self, nodes: Iterable[dict[str, Any]], silent: Iterable[int] = ()) -> None:
        self.silent = set(silent)
        super().__init__(nodes, lose=lambda message: message.metadata.dst_node_id in self.silent)
        self.there = list(self.contexts)
        self.when_looked_for: Callable[[], None] = lambda: None

    def get_node_ids(self) -> list[int]:
        self.when_looked_for()
        return list(self.there)

    def greeted(self) -> list[int]:
        kind = "query.hello"
        return [message.metadata.dst_node_id for message in self.messages if message.metadata.message_type == kind]


def transport_to(grid: ChangingGrid, invitation: Invitation, at_once: int | None = None) -> FlowerTransport:
    how: dict[str, Any] = {"patience_seconds": PATIENCE, "poll_seconds": 0.005}
    return FlowerTransport(grid, invitation, lambda _: None, at_once=at_once, **how)


def asked(transport: FlowerTransport, seconds: float) -> dict[int, Answer]:
    """What two devices make of a request, with a deadline."""
    request = encode(SendImages(round=1, quality=80, size=0)).data
    return dict(transport.exchange_all([(0, [request]), (1, [request])], time.monotonic() + seconds))


def test_who_comes_after_a_silent_node_is_greeted(invitation: Invitation) -> None:
    grid, started = ChangingGrid([{"device": 0}, {"device": 1}, {}], silent=[1002]), time.monotonic()
    grid.there = [1002, 1000]
    looks: list[None] = []

    def comes_late() -> None:
        looks.append(None)
        if len(looks) == 3:
            grid.there.append(1001)

    grid.when_looked_for = comes_late
    transport_to(grid, invitation).wait_for_devices()
    assert time.monotonic() - started < PATIENCE / 2
    assert grid.greeted() == [1002, 1000, 1001]


@pytest.mark.parametrize("at_once", [None, 1])
def test_a_silent_node_costs_a_round_no_more_than_its_deadline(at_once: int | None, invitation: Invitation) -> None:
    grid = ChangingGrid([{"device": 0}, {"device": 1}, {}], silent=[1002])
    grid.there = [1000, 1001]
    transport = transport_to(grid, invitation, at_once)
    transport.wait_for_devices()
    grid.there, started = [1002, 1000], time.monotonic()
    answers = asked(transport, 0.2)
    assert time.monotonic() - started < PATIENCE / 2
    assert [answers[device].sent for device in (0, 1)] == [1, 0]
    assert "may not leave it" in str(answers[0].lost)  # so it was asked, and has answered
    lost = answers[1].lost
    assert lost is not None
    assert lost.reason == "no SuperNode is connected for it"


def test_a_node_that_has_been_silent_for_long_is_not_waited_for(
    invitation: Invitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.flower.transport.GREETING_SECONDS", 0.05)
    grid = ChangingGrid([{"device": 0}, {"device": 1}, {}], silent=[1002])
    grid.there = [1000, 1001]
    transport = transport_to(grid, invitation)
    transport.wait_for_devices()
    grid.there, started = [1002, 1000], time.monotonic()
    assert [answer.sent for answer in asked(transport, PATIENCE).values()] == [1, 0]
    assert time.monotonic() - started < PATIENCE / 2
    assert grid.greeted().count(1002) == 1


def test_a_device_whose_answer_to_the_greeting_comes_late_is_asked_in_the_same_round(invitation: Invitation) -> None:
    grid = ChangingGrid([{"device": 0}, {"device": 1}, {"device": 1}])
    grid.there = [1000, 1001]
    transport = transport_to(grid, invitation)
    transport.wait_for_devices()
    grid.there = [1000, 1002]
    pulls: list[None] = []
    pull = grid.pull_messages

    def late(message_ids: Iterable[str]) -> list[Message]:
        pulls.append(None)
        return pull(message_ids) if len(pulls) > 5 else []

    grid.pull_messages = late  # type: ignore[method-assign]
    assert [answer.sent for answer in asked(transport, PATIENCE).values()] == [1, 1]
    assert grid.greeted() == [1000, 1001, 1002]


def test_how_many_nodes_are_silent_is_said(invitation: Invitation) -> None:
    grid = ChangingGrid([{"device": 0}, {}, {}], silent=[1001, 1002])
    transport = FlowerTransport(grid, invitation, lambda _: None, patience_seconds=0.05, poll_seconds=0.005)
    with pytest.raises(DeviceError, match=r"place of device 1; .*; SuperNodes that do not answer: 2$"):
        transport.wait_for_devices()
