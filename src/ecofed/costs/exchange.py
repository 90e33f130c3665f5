"""One request to a device and its reply, as the clock sees them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What one request and its reply put on the wire; recorded by the channel, or predicted from shapes."""

    device: int
    request: str
    """The message class's name."""
    reply: str
    downlink: Mapping[str, int]
    """Bytes of the request by ledger kind."""
    uplink: Mapping[str, int]
    """Bytes of the reply by ledger kind."""

    @property
    def downlink_bytes(self) -> int:
        return sum(self.downlink.values())

    @property
    def uplink_bytes(self) -> int:
        return sum(self.uplink.values())


def by_kind(exchanges: Iterable[Exchange]) -> dict[str, dict[str, int]]:
    """Bytes by ledger kind and direction; kinds without bytes are left out."""
    sums: dict[str, dict[str, int]] = {}
    for exchange in exchanges:
        for direction, counts in (("uplink", exchange.uplink), ("downlink", exchange.downlink)):
            for kind, count in counts.items():
                row = sums.setdefault(kind, {"uplink": 0, "downlink": 0})
                row[direction] += count
    return sums
