"""The ledger: every byte that crossed the device/server boundary, by kind and direction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ecofed.results import DIRECTIONS, LEDGER_KINDS


class Ledger:
    """Counts bytes of encoded messages. Retransmissions are a column of their own."""

    def __init__(self) -> None:
        self.bytes: dict[str, dict[str, int]] = {kind: dict.fromkeys(DIRECTIONS, 0) for kind in LEDGER_KINDS}
        self.retransmitted: dict[str, int] = dict.fromkeys(DIRECTIONS, 0)

    def record(self, direction: str, by_kind: Mapping[str, int], *, retransmission: bool = False) -> None:
        """Add one message. ``by_kind`` holds its bytes by ledger kind and sums to its length."""
        if retransmission:
            self.retransmitted[direction] += sum(by_kind.values())
            return
        for kind, count in by_kind.items():
            self.bytes[kind][direction] += count

    def total(self, direction: str) -> int:
        """Bytes in one direction, all kinds, retransmissions left out."""
        return sum(row[direction] for row in self.bytes.values())

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready copy; :meth:`from_dict` reads it back."""
        return {
            "bytes": {kind: dict(row) for kind, row in self.bytes.items()},
            "retransmitted": dict(self.retransmitted),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Ledger:
        ledger = cls()
        for kind, row in values["bytes"].items():
            ledger.bytes[kind].update({direction: int(count) for direction, count in row.items()})
        ledger.retransmitted.update({key: int(count) for key, count in values["retransmitted"].items()})
        return ledger
