"""A budget, spread over the training."""

from __future__ import annotations

from ecofed.activations.refresh.base import RefreshPolicy, Uploads


class SpreadRefresh(RefreshPolicy):
    """A device's first view at once, the others evenly over the rounds, until its views or bytes are used up.

    With room for V views, view number v (from 0) is due from round ``1 + v * rounds / V`` on.
    """

    def due(self, round_: int, past: Uploads) -> bool:
        return past.views == 0 or (round_ - 1) * self.affordable_views(past) >= past.views * self.rounds
