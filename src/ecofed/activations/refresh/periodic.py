"""The paper's policy."""

from __future__ import annotations

from ecofed.activations.refresh.base import RefreshPolicy, Uploads


class PeriodicRefresh(RefreshPolicy):
    """Rounds 1, 1 + period, 1 + 2 * period, ..."""

    def due(self, round_: int, past: Uploads) -> bool:  # noqa: ARG002 - part of the interface
        return (round_ - 1) % self.config.period == 0
