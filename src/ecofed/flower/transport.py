"""Bytes to devices over Flower's Grid: one Flower message per device and visit, all devices at the same time.

``at_once`` limits how many messages are out at a time: where one machine runs many SuperNodes, each message there is a
process; and where uploads are large, a server holds that many of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from flwr.app import Message
from flwr.serverapp import Grid

from ecofed.config.methods import OURS, facts_of
from ecofed.errors import ConfigError, DeviceError, WireError
from ecofed.errors.foreign_text import clean
from ecofed.flower.content import HELLO, REQUESTS, Invitation, pack, unpack
from ecofed.methods.transport import Answer, Lost

#: Between two looks for replies. Flower's own ``send_and_receive`` looks every three seconds.
POLL_SECONDS = 0.25
#: How long a round without a deadline waits for a device, and a run for all devices to be there.
PATIENCE_SECONDS = 600.0
#: How long a round waits for a device whose SuperNode has gone; as in the processes runtime.
REJOIN_SECONDS = 60.0
#: A SuperNode answers its greeting soon, or it hangs: after so long nobody waits for it. It is there when it answers.
GREETING_SECONDS = 30.0
#: Of devices that did not come so many are named.
MOST_NAMED = 20
#: Flower's code for a node that stopped reporting while a message was with it.
NODE_UNAVAILABLE = 5


def check_method(method: str) -> None:
    """Raise :class:`ConfigError` for a method that makes no sense over Flower."""
    reason = facts_of(method).against_flower
    if reason is not None:
        raise ConfigError(f"{method} {reason}: use {OURS}, or run it with 'ecofed run' (runtime = processes)")


class FlowerTransport:
    """Devices behind a Grid.

    Args:
        grid: Flower's.
        invitation: what every device is told once.
        note: is told which device came, and which node cannot take part.
        at_once: how many messages are out at a time; ``None``: all of a round. Greetings that have not been answered
            for long do not count, and while others hold all places, a round's requests go out one by one.
        patience_seconds: how long to wait for what has no deadline.
    """

    exchanges_at_once: ClassVar[bool] = False

    def __init__(
        self,
        grid: Grid,
        invitation: Invitation,
        note: Callable[[str], None],
        *,
        at_once: int | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._grid = grid
        self._invitation = invitation
        self._devices = invitation.task.config.devices
        self._note = note
        self._at_once = at_once
        self._patience = patience_seconds
        self._poll = poll_seconds
        self._nodes: dict[int, int] = {}
        """Node id of each device."""
        self._known: set[int] = set()
        self._greeted: dict[str, tuple[int, float]] = {}
        """Node id of each greeting that is not answered yet, and when it was sent; by message id."""
        self._to_greet = 0
        """How many nodes are new, and have not been greeted because too many messages are out."""
        self._refused: dict[int, str] = {}
        """Why a device said that it cannot take part."""
        self.own_data: set[int] = set()
        """Devices that bring pictures of their own, instead of a share of the run's data set."""

    def wait_for_devices(self) -> None:
        """Invite nodes until every device of the run is there, or has said that it cannot take part.

        Raises:
            DeviceError: some are missing after the patience is over, the message names them; or none can take part.
        """
        wanted, came = set(range(self._devices)), set[int]()
        end = time.monotonic() + self._patience
        while True:
            arrived = self._look_for(range(self._devices))
            came |= self._nodes.keys()
            if not (missing := wanted - came - self._refused.keys()):
                break
            if time.monotonic() > end:
                named, more = sorted(missing)[:MOST_NAMED], len(missing) - MOST_NAMED
                others = f" and {more:,} others" if more > 0 else ""
                silent = f"; SuperNodes that do not answer: {len(self._greeted):,}" if self._greeted else ""
                raise DeviceError(
                    f"after {self._patience:.0f} s no SuperNode has taken the place of device "
                    f"{', '.join(map(str, named))}{others}; start each with its own --node-config "
                    f"'device=NUMBER'{silent}"
                )
            if not arrived:
                time.sleep(self._poll)
        if not self._nodes:
            first, reason = min(self._refused.items())
            raise DeviceError(f"none of the devices can take part; device {first}: {reason}")

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:
        """One device, which may be on its way back."""
        rejoined_by = time.monotonic() + min(REJOIN_SECONDS, self._patience)
        rejoined_by = rejoined_by if deadline is None else min(rejoined_by, deadline)
        self._look_for([device])
        while device not in self._nodes and device not in self._refused and time.monotonic() < rejoined_by:
            time.sleep(self._poll)
            self._look_for([device])
        return next(self.exchange_all([(device, requests)], deadline))[1]

    def exchange_all(
        self, requests: Iterable[tuple[int, Sequence[bytes]]], deadline: float | None
    ) -> Iterator[tuple[int, Answer]]:
        outgoing = list(requests)
        unsent = {device for device, _ in outgoing}
        end = deadline if deadline is not None else time.monotonic() + self._patience
        coming, early = self._send(dict(outgoing), unsent, end), dict[int, Message | None]()
        for device, data in outgoing:
            while device not in early and (arrival := next(coming, None)) is not None:
                early[arrival[0]] = arrival[1]
            reply = early.pop(device, None)
            if device not in unsent:
                yield device, self._answer(device, len(data), reply)
            elif device in self._nodes:
                yield device, _not_sent("nothing was sent to it before the round's deadline")
            else:
                yield device, _not_sent(self._refused.get(device, "no SuperNode is connected for it"))

    def drop(self, device: int) -> None:
        """A late reply has another message's id and is never asked for, so there is nothing to forget."""

    def close(self) -> None:
        """Nodes belong to Flower."""

    def _answer(self, device: int, sent: int, reply: Message | None) -> Answer:
        if reply is None:
            return Answer(replies=[], sent=sent, lost=Lost(reason="no answer before the round's deadline", again=False))
        if reply.has_error():
            reason = str(reply.error.reason).strip().splitlines() or ["unknown error"]
            again = reply.error.code == NODE_UNAVAILABLE
            lost = Lost(reason=f"Flower reports: {reason[-1][:200]}", again=again)
            return Answer(replies=[], sent=sent, lost=lost)
        try:
            replies, words = unpack(reply.content)
        except WireError as error:
            return Answer(replies=[], sent=sent, lost=Lost(reason=str(error), again=False))
        if words.get("status") == "forgot":
            node = reply.metadata.src_node_id
            self._known.discard(node)
            if self._nodes.get(device) == node:
                del self._nodes[device]
            lost = Lost(reason="it was started anew and has lost its front", again=True, forgot=True)
            return Answer(replies=[], sent=sent, lost=lost)
        if words.get("status") != "ok":
            return Answer(replies=[], sent=sent, lost=Lost(reason=str(words.get("reason", "refused")), again=False))
        lost_rest = Lost(reason="answered too few messages", again=False) if len(replies) < sent else None
        return Answer(replies=replies[:sent], sent=sent, lost=lost_rest)

    # --- who is there ---

    def _look_for(self, devices: Iterable[int], out: int = 0) -> bool:
        """Nodes come and go: forget those that left, greet those that are new if somebody is missing, and welcome those
        that have answered meanwhile. Waits for nobody; ``out`` other messages are under way. Whether anybody answered.
        """
        nodes = list(self._grid.get_node_ids())
        present = set(nodes)
        self._known &= present
        self._nodes = {device: node for device, node in self._nodes.items() if node in present}
        self._greeted = {id_: sent for id_, sent in self._greeted.items() if sent[0] in present}
        self._to_greet = 0
        if any(device not in self._nodes for device in devices):
            self._greet([node for node in nodes if node not in self._known], out)
        replies = list(self._grid.pull_messages(list(self._greeted))) if self._greeted else []
        for reply in replies:
            if self._greeted.pop(str(reply.metadata.reply_to_message_id), None) is not None:
                self._welcome(reply)
        return bool(replies)

    def _greet(self, new: Sequence[int], out: int) -> None:
        """Tell nodes about the run, as far as messages may be out; they will answer with their device number."""
        room = len(new) if self._at_once is None else max(0, self._at_once - out - self._expected())
        self._to_greet = max(0, len(new) - room)
        if not new[:room]:
            return
        content = [self._invitation.encode()]
        self._known |= set(new[:room])
        ids = self._grid.push_messages([Message(pack(content), node, f"query.{HELLO}") for node in new[:room]])
        now = time.monotonic()
        self._greeted |= {str(id_): (node, now) for id_, node in zip(ids, new, strict=False) if id_}

    def _expected(self) -> int:
        """How many greetings may be answered soon."""
        after = time.monotonic() - min(GREETING_SECONDS, self._patience)
        return sum(sent > after for _, sent in self._greeted.values())

    def _welcome(self, reply: Message) -> None:
        node = reply.metadata.src_node_id
        if reply.has_error():
            self._note(f"a SuperNode cannot take part: {reply.error.reason}")
            return
        try:
            _, words = unpack(reply.content)
        except WireError as error:
            self._note(f"a SuperNode cannot take part: {error}")
            return
        said = words.get("device")
        device = said if isinstance(said, int) and not isinstance(said, bool) else None
        if words.get("own") == 1 and device is not None and device in range(self._devices):
            self.own_data.add(device)  # those that are refused, too: what the server would have dealt is not theirs
        if words.get("status") != "ok" or device is None:
            reason = clean(words.get("reason", "it gave no device number"))
            self._note(f"a SuperNode cannot take part: {reason}")
            if device is not None and device in range(self._devices) and device not in self._nodes:
                self._refused[device] = reason
        elif self._nodes.get(device, node) != node:
            self._note(f"two SuperNodes say that they are device {device}; the second is ignored")
        else:
            self._nodes[device] = node
            self._refused.pop(device, None)

    # --- messages ---

    def _send(
        self, requests: Mapping[int, Sequence[bytes]], unsent: set[int], end: float
    ) -> Iterator[tuple[int, Message | None]]:
        """Send each device its requests, which leaves ``unsent`` then; replies as they come. ``None`` for a device that
        has no SuperNode while none that is new may turn out to be its own.

        Over when everything is answered, or at ``end`` (monotonic seconds).
        """
        waiting, out = list(requests), dict[str, int]()
        self._look_for(waiting)
        while (waiting or out) and time.monotonic() < end:
            room = len(waiting) if self._at_once is None else max(1, self._at_once - self._expected()) - len(out)
            ready = [device for device in waiting if device in self._nodes][: max(0, room)]
            if ready:
                messages = [Message(pack(requests[d]), self._nodes[d], f"query.{REQUESTS}") for d in ready]
                for id_, device in zip(self._grid.push_messages(messages), ready, strict=False):
                    if id_:  # Flower has taken it
                        unsent.discard(device)
                        out[str(id_)] = device
            may_come = self._expected() + self._to_greet > 0
            absent = [device for device in waiting if device not in self._nodes]
            given_up = [device for device in absent if not may_come or device in self._refused]
            settled = {*ready, *given_up}
            waiting = [device for device in waiting if device not in settled]
            yield from ((device, None) for device in given_up)
            arrived = list(self._grid.pull_messages(list(out))) if out else []
            for reply in arrived:
                answered = str(reply.metadata.reply_to_message_id)
                if answered in out:
                    yield out.pop(answered), reply
            came = len(absent) > len(given_up) and self._look_for(waiting, len(out))
            if (waiting or out) and not (arrived or came):
                time.sleep(self._poll)


def _not_sent(reason: str) -> Answer:
    return Answer(replies=[], sent=0, lost=Lost(reason=reason, again=False))
