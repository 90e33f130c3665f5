"""Names written beside the ends of lines, where they cover the least: no legend to look up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecofed.reports import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

#: Horizontal anchor, and the offset in points from the line's end.
Place = tuple[str, int, int]

#: Places to try, best first.
_PLACES: list[Place] = [
    ("left", 9, 0),
    *(("left", 9, step) for step in (-4, 4, -8, 8, -12, 12, -16, 16, -20, 20)),
    *(("center", 0, step) for step in (14, -14)),
    *(("right", -9, step) for step in (10, -10, 16, -16, 22, -22)),
    *(("left", 9, step) for step in range(-24, -84, -4)),
    *(("left", 9, step) for step in range(24, 84, 4)),
]


@dataclass(frozen=True, kw_only=True)
class LineEnd:
    """A line and the name to write at its end."""

    text: str
    colour: str
    bold: bool
    x: list[float]
    y: list[float]


def label_ends(figure: Figure, axes: Axes, ends: list[LineEnd]) -> None:
    """Write each name at the place near its line's end that covers the fewest lines and no other name."""
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # positions are known only after the layout
    lines = np.concatenate([_sampled(axes, end) for end in ends])
    room = Bbox.from_extents(axes.bbox.x0, axes.bbox.y0, figure.bbox.x1, figure.bbox.y1)
    taken: list[Bbox] = []
    for end in sorted(ends, key=lambda end: -end.y[-1]):
        label = axes.annotate(
            end.text,
            (end.x[-1], end.y[-1]),
            xytext=(0, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            fontweight="bold" if end.bold else "normal",
            color=end.colour,
            zorder=6,
            annotation_clip=False,
            # Not a halo: matplotlib would turn the text into outlines.
            bbox={"boxstyle": "square,pad=0.05", "facecolor": theme.PAPER, "edgecolor": "none", "alpha": 0.6},
        )
        label.set_in_layout(False)
        costs = [_cost(label, place, lines, taken, room) for place in _PLACES]
        _move(label, _PLACES[int(np.argmin(costs))])
        taken.append(label.get_window_extent())


def _cost(label: Annotation, place: Place, lines: np.ndarray, taken: list[Bbox], room: Bbox) -> float:
    """Move a name to a place and say how bad that is."""
    _move(label, place)
    box = label.get_window_extent()
    inside_x = (lines[:, 0] > box.x0) & (lines[:, 0] < box.x1)
    covered = np.count_nonzero(inside_x & (lines[:, 1] > box.y0) & (lines[:, 1] < box.y1))
    collisions = sum(box.overlaps(other) for other in taken)
    outside = box.x0 < room.x0 or box.x1 > room.x1 or box.y0 < room.y0 or box.y1 > room.y1
    return float(1000 * collisions + 300 * outside + 2 * covered + _PLACES.index(place))


def _move(label: Annotation, place: Place) -> None:
    anchor, dx, dy = place
    label.set(ha=anchor, position=(dx, dy))


def _sampled(axes: Axes, end: LineEnd) -> np.ndarray:
    """The line as points in pixels, a few pixels apart; shape ``(points, 2)``."""
    corners = axes.transData.transform(np.column_stack([end.x, end.y]))
    if len(corners) == 1:
        return corners
    steps = np.linspace(0, len(corners) - 1, 8 * len(corners))
    return np.column_stack([np.interp(steps, np.arange(len(corners)), corners[:, axis]) for axis in (0, 1)])
