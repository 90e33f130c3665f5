"""Accuracy against the bytes of one device over the whole training, one mark a run or a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecofed.files.disk import write_bytes
from ecofed.reports import theme
from ecofed.reports.plots.floors import draw_floors
from ecofed.reports.plots.line_ends import LineEnd, label_ends, lay_out
from ecofed.reports.plots.names import short
from ecofed.reports.plots.style import drawing, png
from ecofed.reports.tables import floors
from ecofed.reports.units import human_bytes
from ecofed.results import Comparison, RunResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_LIMIT = 40
#: With more points names would lie on each other: a number stands at the mark, its name in the legend.
MOST_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class PlottedPoint:
    """One run, or one method's mean over its seeds."""

    label: str
    method: str
    bytes_per_device: float
    accuracy: float
    efficient: bool
    """Whether it is on the frontier: no other point has at least its accuracy for fewer bytes."""
    colour: str | None = None
    """Default: the method's."""


def compared_points(comparison: Comparison) -> list[PlottedPoint]:
    """A point for each group of a comparison that moved bytes."""
    looks = theme.styles(comparison.groups())
    found = [
        (group, group.spread(_of_a_device).mean, group.spread(lambda r: r.totals.final_test_accuracy).mean)
        for group in comparison.groups()
    ]
    found = [one for one in found if one[1] > 0]
    return [
        PlottedPoint(
            label=group.label,
            method=group.method,
            bytes_per_device=size,
            accuracy=accuracy,
            efficient=not any(
                other >= accuracy and less <= size and (other, less) != (accuracy, size) for _, less, other in found
            ),
            colour=looks[group.label].colour,
        )
        for group, size, accuracy in found
    ]


def _of_a_device(result: RunResult) -> float:
    """Bytes; runs that are joined may have other numbers of devices."""
    return result.total_bytes / max(1, len(result.data.label_counts))


def device_floors(comparison: Comparison) -> list[tuple[str, float]]:
    """The floors as bytes of one device."""
    devices = max(1, len(comparison.results[0].data.label_counts))
    return [(label, size / devices) for label, size in floors(comparison) if size > 0]


def compared_figure(comparison: Comparison) -> Figure | None:
    """The methods of a comparison; ``None`` where there is nothing to compare."""
    points = compared_points(comparison)
    return frontier_figure(points, device_floors(comparison)) if len(points) > 1 else None


def write_frontier_plot(points: Sequence[PlottedPoint], marks: Sequence[tuple[str, float]], path: Path) -> None:
    """Draw the frontier as PNG; ``marks`` are vertical lines at so many bytes a device.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing("frontier", "the plot of the frontier"):
        content = png(frontier_figure(points, marks))
    write_bytes(path, content)


def frontier_figure(points: Sequence[PlottedPoint], marks: Sequence[tuple[str, float]]) -> Figure:
    """The plot: named marks where they are few, numbered ones otherwise, named below it by rising bytes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    ordered = sorted(points, key=lambda point: point.bytes_per_device)
    few = len(ordered) <= MOST_NAMED
    figure = Figure(figsize=(6.4, 4.2 if few else 4.2 + 0.17 * (len(ordered) + 1) // 2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    _limit(axes, [point.bytes_per_device for point in ordered], [size for _, size in marks], room=few)
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda size, _: human_bytes(size).replace(".00 ", " ").replace(".0 ", " "))
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, min(1.0, 1.12 * max((point.accuracy for point in ordered), default=1.0)))
    axes.set_xlabel("bytes of one device over the whole training, up and down (log scale)")
    axes.set_ylabel("final test accuracy")
    axes.grid(axis="x", visible=False)
    best = [point for point in ordered if point.efficient]
    axes.plot(
        [point.bytes_per_device for point in best],
        [point.accuracy for point in best],
        color=theme.MUTED,
        linewidth=1.2,
        drawstyle="steps-post",  # in between nothing was tried: who has more bytes has at least what the last point had
        zorder=1,
    )
    for number, point in enumerate(ordered, start=1):
        axes.plot(
            point.bytes_per_device,
            point.accuracy,
            marker=theme.marker_of(point.method) or "o",
            markersize=8,
            markeredgecolor=theme.PAPER,
            markeredgewidth=0.6,
            linestyle="none",
            color=_colour(point),
            alpha=1 if point.efficient else 0.6,
            label=f"{number}  {short(point.label, _NAME_LIMIT)}  {point.accuracy:.3f}",
            zorder=3,
        )
    if not few:
        figure.legend(loc="outside lower left", fontsize=8, frameon=False, ncols=2, handletextpad=0.3, borderpad=0)
    lay_out(figure)
    places = [axes.transData.transform([(point.bytes_per_device, point.accuracy)]) for point in ordered]
    obstacles = draw_floors(axes, marks, places)
    ends = [
        LineEnd(
            text=f"{short(point.label, _NAME_LIMIT)}  {point.accuracy:.2f}" if few else str(number),
            colour=_colour(point),
            bold=point.efficient,
            x=[point.bytes_per_device],
            y=[point.accuracy],
        )
        for number, point in enumerate(ordered, start=1)
    ]
    if ends:
        label_ends(figure, axes, ends, obstacles, [_steps(axes, best)] if best else [])
    return figure


def _steps(axes: Axes, best: Sequence[PlottedPoint]) -> np.ndarray:
    """The line of the frontier as points in pixels, close together; shape ``(points, 2)``."""
    corners = [axes.transData.transform((point.bytes_per_device, point.accuracy)) for point in best]
    bends = [corner for here, there in pairwise(corners) for corner in (here, np.array([there[0], here[1]]))]
    path = np.array([*bends, *corners[-1:]]).reshape(-1, 2)
    steps = np.linspace(0, max(0, len(path) - 1), 40 * len(path))
    return np.column_stack([np.interp(steps, np.arange(len(path)), path[:, axis]) for axis in (0, 1)])


def _limit(axes: Axes, sizes: Sequence[float], marks: Sequence[float], *, room: bool) -> None:
    """From the least to the most bytes, with room for words beside the first mark and the last point."""
    every = [size for size in (*sizes, *marks) if size > 0] or [1.0]
    low, high = log10(min(every)), log10(max(every))
    span = max(high - low, 0.5)
    axes.set_xlim(10 ** (low - 0.07 * span), 10 ** (high + (0.35 if room and sizes else 0.08) * span))


def _colour(point: PlottedPoint) -> str:
    return point.colour or theme.colour_of(point.method) or theme.INK
