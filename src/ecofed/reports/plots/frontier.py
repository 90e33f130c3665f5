"""Accuracy against the bytes of one device over the whole training, one mark a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecofed.files.disk import write_bytes
from ecofed.reports import theme
from ecofed.reports.plots.names import short
from ecofed.reports.plots.style import drawing, png
from ecofed.reports.units import human_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAME_LIMIT = 44


@dataclass(frozen=True, kw_only=True)
class PlottedPoint:
    """One run."""

    label: str
    method: str
    bytes_per_device: float
    accuracy: float
    efficient: bool
    """Whether it is on the frontier: those points are joined."""


def write_frontier_plot(points: Sequence[PlottedPoint], marks: Sequence[tuple[str, float]], path: Path) -> None:
    """Draw the frontier as PNG; ``marks`` are vertical lines at so many bytes a device.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing("frontier", "the plot of the frontier"):
        content = png(frontier_figure(points, marks))
    write_bytes(path, content)


def frontier_figure(points: Sequence[PlottedPoint], marks: Sequence[tuple[str, float]]) -> Figure:
    """The plot: numbered marks, named in the legend by rising bytes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(9.6, 5.0), layout="constrained")
    axes = figure.add_subplot()
    best = sorted((point for point in points if point.efficient), key=lambda point: point.bytes_per_device)
    axes.plot([p.bytes_per_device for p in best], [p.accuracy for p in best], color=theme.MUTED, linewidth=1, zorder=1)
    for number, point in enumerate(sorted(points, key=lambda point: point.bytes_per_device), start=1):
        axes.plot(
            point.bytes_per_device,
            point.accuracy,
            marker=theme.marker_of(point.method) or "o",
            markersize=7,
            linestyle="none",
            color=theme.colour_of(point.method) or theme.INK,
            alpha=1 if point.efficient else 0.5,
            label=f"{number}  {short(point.label, _NAME_LIMIT)}, {point.accuracy:.3f}",
        )
        # Names would lie on each other: a number stands at the mark, its name in the legend.
        axes.annotate(
            str(number),
            (point.bytes_per_device, point.accuracy),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=theme.INK if point.efficient else theme.MUTED,
        )
    for label, size in marks:
        axes.axvline(size, color=theme.MUTED, linestyle=":", linewidth=1)
        axes.annotate(
            f"{label}, {human_bytes(size)}",
            (size, 0.01),
            xycoords=("data", "axes fraction"),
            rotation=90,
            fontsize=7,
            color=theme.MUTED,
            ha="right",
            va="bottom",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: human_bytes(size)))
    figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    axes.set_ylim(0, min(1.0, 1.12 * max((point.accuracy for point in points), default=1.0)))
    axes.set_xlabel("bytes of one device over the whole training, up and down (log scale)")
    axes.set_ylabel("test accuracy")
    return figure
