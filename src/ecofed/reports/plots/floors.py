"""Vertical marks on an axis of bytes: what sending every image once would cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecofed.reports import theme
from ecofed.reports.plots.names import short
from ecofed.reports.units import human_bytes

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation


def draw_floors(axes: Axes, marks: Sequence[tuple[str, float]], lines: Sequence[np.ndarray]) -> list[Artist]:
    """Draw the marks, their words where they cover the least of the lines. Returns what names keep clear of."""
    ordered = sorted(marks, key=lambda mark: mark[1])
    drawn: list[Artist] = [
        axes.axvline(size, color=theme.MUTED, lw=1.1, ls=(0, (2, 2)), zorder=1) for _, size in ordered
    ]
    points = np.concatenate([np.empty((0, 2)), *lines])
    words: list[Artist] = []
    for index, (label, size) in enumerate(ordered):
        text = axes.annotate(
            f"{short(label, 40)} · {human_bytes(size)}",
            (size, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(0, 0),
            textcoords="offset points",
            rotation=90,
            fontsize=8.5,
            color=theme.MUTED,
            zorder=4,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": theme.PAPER, "edgecolor": "none", "alpha": 0.75},
        )
        # The smaller one is named on its left, the larger on its right: two close marks stay readable.
        sides = ["right", "left"] if index == 0 and len(ordered) > 1 else ["left", "right"]
        costs = {}
        for order, (side, foot) in enumerate((side, foot) for side in sides for foot in (True, False)):
            _put(text, size, side, foot=foot)
            box = text.get_window_extent()
            inside = (
                np.abs(points - [box.x0 + box.width / 2, box.y0 + box.height / 2])
                < [
                    box.width / 2,
                    box.height / 2,
                ]
            ).all(axis=1)
            crowded = sum(box.overlaps(other.get_window_extent()) for other in [*drawn, *words])
            costs[side, foot] = np.count_nonzero(inside) + 100 * crowded + 100 * (box.x0 < axes.bbox.x0) + order / 10
        side, foot = min(costs, key=lambda place: costs[place])
        _put(text, size, side, foot=foot)
        words.append(text)
    return [*drawn, *words]


def _put(text: Annotation, size: float, side: str, *, foot: bool) -> None:
    text.xy = (size, 0.02 if foot else 0.98)
    text.set(ha=side, va="bottom" if foot else "top", position=(4 if side == "left" else -4, 0))
