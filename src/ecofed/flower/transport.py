"""Bytes to devices over Flower's Grid: one Flower message per device and visit, all devices at the same time.

``at_once`` limits how many messages are out at a time: where one machine runs many SuperNodes, each message there is a
process; and where uploads are large, a server holds that many of them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

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
        at_once: how many messages are out at a time; ``None``: all of a round.
        patience_seconds: how long to wait for what has no deadline.
    """

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
        self._refused: dict[int, str] = {}
        """Why a device said that it cannot take part."""

    def wait_for_devices(self) -> None:
        """Invite nodes until every device of the run is there, or has said that it cannot take part.

        Raises:
            DeviceError: some are missing after the patience is over, the message names them; or none can take part.
        """
        wanted = set(range(self._devices))
        end = time.monotonic() + self._patience
        self._invite()
        while missing := wanted - self._nodes.keys() - self._refused.keys():
            if time.monotonic() > end:
                named, more = sorted(missing)[:MOST_NAMED], len(missing) - MOST_NAMED
                others = f" and {more:,} others" if more > 0 else ""
                raise DeviceError(
                    f"after {self._patience:.0f} s no SuperNode has taken the place of device "
                    f"{', '.join(map(str, named))}{others}; start each with its own --node-config 'device=NUMBER'"
                )
            time.sleep(self._poll)
            self._invite()
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
        self._look_for([device for device, _ in outgoing])
        unsent = {
            device: Message(pack(data), self._nodes[device], f"query.{REQUESTS}")
            for device, data in outgoing
            if device in self._nodes
        }
        connected = set(unsent)
        end = deadline if deadline is not None else time.monotonic() + self._patience
        coming, early = self._send(unsent, end), dict[int, Message]()
        for device, data in outgoing:
            while device in connected and device not in early and (arrival := next(coming, None)) is not None:
                early[arrival[0]] = arrival[1]
            if device not in connected:
                yield device, _not_sent(self._refused.get(device, "no SuperNode is connected for it"))
            elif device in unsent:
                yield device, _not_sent("nothing was sent to it before the round's deadline")
            else:
                yield device, self._answer(device, len(data), early.pop(device, None))

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
            self._known.discard(self._nodes.pop(device))
            lost = Lost(reason="it was started anew and has lost its front", again=True, forgot=True)
            return Answer(replies=[], sent=sent, lost=lost)
        if words.get("status") != "ok":
            return Answer(replies=[], sent=sent, lost=Lost(reason=str(words.get("reason", "refused")), again=False))
        lost_rest = Lost(reason="answered too few messages", again=False) if len(replies) < sent else None
        return Answer(replies=replies[:sent], sent=sent, lost=lost_rest)

    # --- who is there ---

    def _look_for(self, devices: Sequence[int]) -> None:
        """Nodes come and go: forget those that left, invite those that are new if somebody is missing."""
        present = set(self._grid.get_node_ids())
        self._known &= present
        self._nodes = {device: node for device, node in self._nodes.items() if node in present}
        if any(device not in self._nodes for device in devices):
            self._invite()

    def _invite(self) -> None:
        """Tell every node that is new about the run, and learn its device number."""
        new = [node for node in self._grid.get_node_ids() if node not in self._known]
        content = [self._invitation.encode()]
        messages = {node: Message(pack(content), node, f"query.{HELLO}") for node in new}
        self._known |= set(new)
        for _, reply in self._send(messages, time.monotonic() + self._patience):
            self._welcome(reply)

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
        device = words.get("device")
        if words.get("status") != "ok" or not isinstance(device, int) or isinstance(device, bool):
            reason = clean(words.get("reason", "it gave no device number"))
            self._note(f"a SuperNode cannot take part: {reason}")
            if isinstance(device, int) and device in range(self._devices) and device not in self._nodes:
                self._refused[device] = reason
        elif self._nodes.get(device, node) != node:
            self._note(f"two SuperNodes say that they are device {device}; the second is ignored")
        else:
            self._nodes[device] = node
            self._refused.pop(device, None)

    # --- messages ---

    def _send(self, unsent: dict[int, Message], end: float) -> Iterator[tuple[int, Message]]:
        """Send each, which leaves ``unsent`` then; replies as they come, with the key of what they answer.

        Over when everything is answered, or at ``end`` (monotonic seconds).
        """
        waiting, out = deque(unsent), dict[str, int]()
        while (waiting or out) and time.monotonic() < end:
            room = len(waiting) if self._at_once is None else min(len(waiting), self._at_once - len(out))
            keys = [waiting.popleft() for _ in range(room)]
            ids = list(self._grid.push_messages([unsent[key] for key in keys])) if keys else []
            for id_, key in zip(ids, keys, strict=False):
                if id_:  # Flower has taken it
                    del unsent[key]
                    out[str(id_)] = key
            arrived = list(self._grid.pull_messages(list(out))) if out else []
            for reply in arrived:
                answered = str(reply.metadata.reply_to_message_id)
                if answered in out:
                    yield out.pop(answered), reply
            if out and not arrived:
                time.sleep(self._poll)


def _not_sent(reason: str) -> Answer:
    return Answer(replies=[], sent=0, lost=Lost(reason=reason, again=False))
