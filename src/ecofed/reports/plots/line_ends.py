"""Names written beside the ends of lines, where they cover the least: no legend to look up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecofed.reports import theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

#: Horizontal anchor, and the offset in points from the line's end.
Place = tuple[str, int, int]
#: Left, lower, right and upper edge in pixels.
Box = tuple[float, float, float, float]

#: What a name that would be taken for another dot's costs, in points of a line that are covered.
_MISREAD = 40
#: Places to try, best first.
_PLACES: list[Place] = [
    ("left", 9, 0),
    *(("left", 9, step) for step in (-4, 4, -8, 8, -12, 12, -16, 16, -20, 20)),
    *(("center", 0, step) for step in (14, -14)),
    *((anchor, aside, step) for step in (14, -14) for anchor, aside in (("left", -10), ("right", 10))),
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


def label_ends(
    figure: Figure,
    axes: Axes,
    ends: list[LineEnd],
    obstacles: Sequence[Artist] = (),
    others: Sequence[np.ndarray] = (),
) -> None:
    """Write each name at the place near its line's end that covers the fewest lines, and no name, no dot that ends a
    line, and none of the ``obstacles``; ``others`` are further lines, as points in pixels. The layout stands
    afterwards: names would not move with it."""
    lay_out(figure)
    lines = np.concatenate([*(along(axes, end.x, end.y) for end in ends), *others])
    room = (axes.bbox.x0, axes.bbox.y0, figure.bbox.x1, figure.bbox.y1)
    pixels = figure.dpi / 72
    taken = [_box(artist.get_window_extent()) for artist in obstacles]
    dots = [axes.transData.transform((end.x[-1], end.y[-1])) for end in ends]
    taken += [(x - 4 * pixels, y - 4 * pixels, x + 4 * pixels, y + 4 * pixels) for x, y in dots]
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
        measured = _box(label.get_window_extent())  # once: other places are this one, moved
        boxes = [_moved(measured, place, pixels) for place in _PLACES]
        own = axes.transData.transform((end.x[-1], end.y[-1]))
        costs = [
            _cost(box, lines, taken, room) + _MISREAD * _is_anothers(box, own, dots) + order
            for order, box in enumerate(boxes)
        ]
        best = int(np.argmin(costs))
        anchor, dx, dy = _PLACES[best]
        label.set(ha=anchor, position=(dx, dy))
        taken.append(boxes[best])


def lay_out(figure: Figure) -> None:
    """Find the places of axes and keep them: each later drawing would look for them again."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.execute(figure)
        figure.set_layout_engine("none")


def along(axes: Axes, x: list[float], y: list[float]) -> np.ndarray:
    """A line as points in pixels, a few pixels apart; shape ``(points, 2)``."""
    corners = axes.transData.transform(np.column_stack([x, y]))
    if len(corners) == 1:
        return corners
    steps = np.linspace(0, len(corners) - 1, 8 * len(corners))
    return np.column_stack([np.interp(steps, np.arange(len(corners)), corners[:, axis]) for axis in (0, 1)])


def _box(extent: Bbox) -> Box:
    return extent.x0, extent.y0, extent.x1, extent.y1


def _moved(box: Box, place: Place, pixels: float) -> Box:
    anchor, dx, dy = place
    width = box[2] - box[0]
    left = dx * pixels - {"left": 0.0, "center": width / 2, "right": width}[anchor]
    return box[0] + left, box[1] + dy * pixels, box[2] + left, box[3] + dy * pixels


def _is_anothers(box: Box, own: np.ndarray, dots: Sequence[np.ndarray]) -> bool:
    """Whether another dot is nearer to a place than the one whose name is to stand there."""

    def apart(dot: np.ndarray) -> float:
        aside = max(box[0] - dot[0], 0.0, dot[0] - box[2])
        return float(np.hypot(aside, max(box[1] - dot[1], 0.0, dot[1] - box[3])))

    return min(map(apart, dots)) < apart(own) - 1


def _cost(box: Box, lines: np.ndarray, taken: list[Box], room: Box) -> float:
    """How bad a place is."""
    x0, y0, x1, y1 = box
    inside = (lines[:, 0] > x0) & (lines[:, 0] < x1) & (lines[:, 1] > y0) & (lines[:, 1] < y1)
    collisions = sum(x0 < other[2] and other[0] < x1 and y0 < other[3] and other[1] < y1 for other in taken)
    outside = x0 < room[0] or x1 > room[2] or y0 < room[1] or y1 > room[3]
    return float(1000 * collisions + 300 * outside + 2 * np.count_nonzero(inside))
