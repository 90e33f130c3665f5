"""What a plan says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ecofed.planning.method_plan import MethodPlan
from ecofed.planning.recommend import Recommendation


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan:
    """The answer of ``ecofed plan``."""

    config: dict[str, Any]
    cut: str
    """The configured one."""
    cuts: list[str]
    """All that were planned, in order."""
    devices: dict[str, str]
    """Title of each device profile, by name."""
    links: dict[str, str]
    server: str
    methods: list[MethodPlan]
    """The methods at the configured cut, then those that depend on it at every other cut."""
    recommendation: Recommendation | None
    notes: list[str]

    def __repr__(self) -> str:
        rows = [
            f"  {row.method}: {(row.total_uplink_bytes + row.total_downlink_bytes) / 1e6:,.2f} MB"
            for row in self.at_cut
        ]
        return "\n".join([f"<Plan, cut after {self.cut}", *rows]) + ">"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; timelines are left out."""
        values = asdict(self)
        for row in values["methods"]:
            del row["timeline"]
        return values

    @property
    def at_cut(self) -> list[MethodPlan]:
        """The methods at the configured cut."""
        return [row for row in self.methods if row.cut == self.cut]
