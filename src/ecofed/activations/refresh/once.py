"""One transfer in a device's life."""

from __future__ import annotations

from ecofed.activations.refresh.base import RefreshPolicy, Uploads


class OneRefresh(RefreshPolicy):
    """Each device uploads in the first round that samples it, and never again."""

    def due(self, round_: int, past: Uploads) -> bool:  # noqa: ARG002 - any round may meet a device for the first time
        return past.views == 0
