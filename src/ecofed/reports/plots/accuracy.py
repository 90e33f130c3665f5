"""Accuracy against total bytes, rounds or simulated time, one line a method."""

from __future__ import annotations

from itertools import combinations
from math import log10
from typing import TYPE_CHECKING

import numpy as np

from ecofed.reports import theme
from ecofed.reports.curves import Axis, Curve, curve
from ecofed.reports.plots.floors import draw_floors
from ecofed.reports.plots.line_ends import LineEnd, along, label_ends, lay_out
from ecofed.reports.plots.names import short
from ecofed.reports.tables import floors
from ecofed.reports.units import human_bytes, human_seconds
from ecofed.results import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_LIMIT = 36
#: More lines than these are not told apart by dashes.
_MOST_COMPARED = 12
_MOST_POINTS = 600
_X_LABELS = {
    "bytes": "bytes over the wire so far, up and down, all devices (log scale)",
    "round": "round",
    "seconds": "simulated time so far (log scale)",
}
#: Seconds, minutes, hours, days that read as round numbers.
_TIME_TICKS = [
    *(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
    *(60 * minutes for minutes in (1, 3, 10, 30)),
    *(3600 * hours for hours in (1, 3, 12)),
    *(86400 * days for days in (1, 3, 10, 30, 100, 300, 1000)),
]


def accuracy_figure(comparison: Comparison, *, axis: Axis) -> Figure | None:
    """One line a method, with the range over seeds as a band; floors as vertical marks on the byte axis.

    Returns ``None`` where no run has an evaluated round on this axis.
    """
    from matplotlib.figure import Figure

    groups = comparison.groups()
    styles = theme.styles(groups)
    curves = {group.label: curve(group, axis) for group in groups}
    if axis != "round":  # a logarithmic axis has no zero
        curves = {label: _positive(one) for label, one in curves.items()}
    curves = {label: one for label, one in curves.items() if one.x}
    if not curves:
        return None
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    marks = [(label, size) for label, size in floors(comparison) if size > 0] if axis == "bytes" else []
    _scale_x(axes, axis, curves, [size for _, size in marks])
    axes.set_ylim(0, _top([y for one in curves.values() for y in one.high]))
    axes.set_xlabel(_X_LABELS[axis])
    axes.set_ylabel("test accuracy")
    axes.grid(axis="x", visible=False)
    lay_out(figure)
    below, on_top = _hidden(axes, curves)
    for label, one in curves.items():
        _draw_line(axes, one, styles[label], below=label in below, on_top=label in on_top)
    named = draw_floors(axes, marks, [along(axes, one.x, one.mean) for one in curves.values()])
    ends = [
        LineEnd(
            # Of the last dot, beside which it stands; the mean of the last evaluations is the table's.
            text=f"{short(label, _NAME_LIMIT)}  {one.mean[-1]:.2f}",
            colour=styles[label].colour,
            bold=styles[label].weight > 2,
            x=one.x,
            y=one.mean,
        )
        for label, one in curves.items()
    ]
    label_ends(figure, axes, ends, named)
    return figure


def _hidden(axes: Axes, curves: dict[str, Curve]) -> tuple[set[str], set[str]]:
    """The lines that others lie on for a third of those others' length, and those others."""
    if len(curves) > _MOST_COMPARED:
        return set(), set()
    places = {label: _thinned(along(axes, one.x, one.mean)) for label, one in curves.items()}
    near = 2.5 * axes.figure.dpi / 72
    below, on_top = set(), set()
    for upper, lower in combinations(reversed(places), 2):  # later ones are drawn on earlier ones
        apart = np.linalg.norm(places[upper][:, None] - places[lower][None], axis=2).min(axis=1)
        if np.mean(apart < near) > 1 / 3:
            below.add(lower)
            on_top.add(upper)
    return below, on_top


def _thinned(points: np.ndarray) -> np.ndarray:
    """At most so many of a long run's points that each can be held against each of another's."""
    return points[:: max(1, len(points) // _MOST_POINTS)]


def _positive(one: Curve) -> Curve:
    keep = [index for index, x in enumerate(one.x) if x > 0]
    return Curve(
        x=[one.x[i] for i in keep],
        mean=[one.mean[i] for i in keep],
        low=[one.low[i] for i in keep],
        high=[one.high[i] for i in keep],
    )


def _draw_line(axes: Axes, one: Curve, style: theme.Style, *, below: bool, on_top: bool) -> None:
    """A line that others lie on is wide and pale, those are dashed: both are seen."""
    front = 3 if style.weight > 2 else 2
    axes.plot(
        one.x,
        one.mean,
        color=style.colour,
        lw=style.weight * (2.4 if below else 1),
        alpha=0.45 if below else 1,
        ls=(0, (4, 2.5)) if on_top else style.line,
        zorder=front,
    )
    axes.plot(one.x[-1:], one.mean[-1:], color=style.colour, marker=style.marker, ms=6.5, zorder=front + 1)
    if len(one.x) <= 40:
        axes.plot(one.x, one.mean, color=style.colour, ls="", marker=style.marker, ms=3.2, zorder=front)
    if one.low != one.high:
        axes.fill_between(one.x, one.low, one.high, color=style.colour, alpha=0.16, lw=0, zorder=1)


def _top(accuracies: list[float]) -> float:
    highest = max(accuracies)
    return next((top for top in (0.1, 0.2, 0.4, 0.6, 0.8) if highest <= top * 0.96), 1.0)


def _scale_x(axes: Axes, axis: Axis, curves: dict[str, Curve], marks: list[int]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    ends = {label: one.x[-1] for label, one in curves.items()}
    if axis == "round":
        axes.set_xlim(0, _right_limit(0, ends))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= max(ends.values())])
        return
    low = log10(min([*(one.x[0] for one in curves.values()), *marks]))
    high = log10(max([*ends.values(), *marks]))
    decades = max(high - low, 0.3)
    low -= 0.06 * decades
    high = max(high + 0.04 * decades, _right_limit(low, {label: log10(end) for label, end in ends.items()}))
    axes.set_xscale("log")
    axes.set_xlim(10**low, 10**high)
    if axis == "seconds":
        ticks = [tick for tick in _TIME_TICKS if low <= log10(tick) <= high]
        axes.xaxis.set_major_locator(FixedLocator(ticks[:: 1 + len(ticks) // 7]))
        axes.xaxis.set_minor_locator(FixedLocator([]))
    else:
        steps = (1.0,) if decades > 2.2 else (1.0, 3.0) if decades > 1 else (1.0, 2.0, 5.0)
        axes.xaxis.set_major_locator(LogLocator(subs=steps))
    human = human_bytes if axis == "bytes" else human_seconds
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(human(value))))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _right_limit(left: float, ends: dict[str, float]) -> float:
    """The least right limit that leaves room for every name beside its line's end."""
    # About 6 points a character on an axis of 400 points; the accuracy adds six characters.
    share = {label: min(0.6, (14 + 6 * (min(len(label), _NAME_LIMIT) + 6)) / 400) for label in ends}
    return max(left + max(end - left, 0.3) / (1 - share[label]) for label, end in ends.items())


def _short(text: str) -> str:
    number, _, unit = text.partition(" ")
    return f"{number.removesuffix('.00').removesuffix('.0')} {unit}"
