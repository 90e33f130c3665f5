"""The plots of ``ecofed plan``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecofed.files.disk import write_bytes
from ecofed.reports import theme
from ecofed.reports.plots.style import drawing, png
from ecofed.reports.plots.timeline import Spans, draw_timelines
from ecofed.reports.units import human_bytes, human_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_plan_plots(
    rows: Sequence[Mapping[str, Any]], timelines: Mapping[str, Spans], folder: str | Path
) -> list[Path]:
    """Write ``plan.png`` and ``timeline.png``.

    Args:
        rows: each with ``method``, ``cut``, ``seconds_per_round`` and ``bytes_per_round``.
        timelines: a round of each method.
        folder: is made.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    target = Path(folder)
    written = []
    for name in ("plan", "timeline"):
        with drawing(name):
            figure = cuts_figure(rows) if name == "plan" else draw_timelines(timelines)
            written.append(target / f"{name}.png")
            write_bytes(written[-1], png(figure))
    return written


def cuts_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Time and bytes of a round, over the cuts; one line a method, on logarithmic scales."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    cuts = list(dict.fromkeys(row["cut"] for row in sorted(rows, key=lambda row: row["position"])))
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for axes, key, label, human in (
        (panels[0], "seconds_per_round", "time of a round", human_seconds),
        (panels[1], "bytes_per_round", "bytes of a round", human_bytes),
    ):
        for method in dict.fromkeys(row["method"] for row in rows):
            own = {row["cut"]: row[key] for row in rows if row["method"] == method}
            if len(own) == 1:  # what it costs does not depend on where others cut
                own = dict.fromkeys(cuts, next(iter(own.values())))
            places = [index for index, cut in enumerate(cuts) if cut in own and own[cut] > 0]
            axes.plot(
                places,
                [own[cuts[index]] for index in places],
                color=theme.colour_of(method),
                marker=theme.marker_of(method),
                label=method,
                ms=5,
            )
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _, human=human: human(value))
        axes.set_ylabel(label)
    panels[1].set_xticks(range(len(cuts)), cuts, rotation=30 if len(cuts) > 6 else 0)
    panels[1].set_xlabel("cut after")
    panels[0].legend(frameon=False, fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return figure
