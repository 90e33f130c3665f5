"""The plots of a report, as PNG files and as SVG for the page. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ecofed.files.disk import write_bytes
from ecofed.reports import theme
from ecofed.reports.plots.accuracy import accuracy_figure
from ecofed.reports.plots.frontier import compared_figure
from ecofed.reports.plots.kinds import kinds_figure
from ecofed.reports.plots.labels import labels_figure
from ecofed.reports.plots.line_ends import lay_out
from ecofed.reports.plots.names import short
from ecofed.reports.plots.style import drawing, png, svg, vector
from ecofed.reports.plots.timeline import timeline_figure
from ecofed.reports.tables import as_comparison
from ecofed.results import Comparison, RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Every plot: file name -> (title, drawer). A drawer returns ``None`` where there is nothing to draw.
DRAWERS: dict[str, tuple[str, Callable[[Comparison], Figure | None]]] = {
    "accuracy-bytes": ("Accuracy against bytes", partial(accuracy_figure, axis="bytes")),
    "accuracy-rounds": ("Accuracy against rounds", partial(accuracy_figure, axis="round")),
    "accuracy-time": ("Accuracy against simulated time", partial(accuracy_figure, axis="seconds")),
    "frontier": ("What accuracy costs a device", compared_figure),
    "round-timeline": ("One round by the simulated clock", timeline_figure),
    "bytes-by-kind": ("Bytes by kind and direction", kinds_figure),
    "label-partition": ("Who holds which labels", labels_figure),
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One drawn plot."""

    name: str
    title: str
    png: bytes
    """With its title and the data set's name, to stand alone."""
    svg: str
    """Without XML prologue, sizes and fonts of its own, colours as CSS variables: to be put into the page."""
    papers: dict[str, bytes] = field(default_factory=dict)
    """By format (``svg``, ``pdf``), for papers: drawn by vectors, without a title, as captions say it."""


def draw_plots(result: Comparison | RunResult, papers: Sequence[str] = ()) -> list[Plot]:
    """Draw every plot that the results have data for; ``papers`` are formats to draw it in besides.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    comparison = as_comparison(result)
    plots = []
    for name, (title, draw) in DRAWERS.items():
        with drawing(name):
            figure = draw(comparison)
            if figure is not None:
                lay_out(figure)
                inline = _svg(figure)  # first: the page has headings of its own
                vectors = {name: vector(figure, name) for name in papers}
                data = comparison.results[0].data
                _add_title(figure, title, f"{short(data.name, 40)}, {len(data.label_counts)} devices")
                plots.append(Plot(name=name, title=title, png=png(figure), svg=inline, papers=vectors))
    return plots


def write_plots(result: Comparison | RunResult, folder: str | Path) -> list[Path]:
    """Draw every plot and write it as ``plots/NAME.png`` into the folder. Returns the paths."""
    return save_plots(draw_plots(result), folder)


def save_plots(plots: list[Plot], folder: str | Path) -> list[Path]:
    """Write drawn plots as ``plots/NAME.png``, and in the formats for papers that they were drawn in."""
    files = {
        f"{plot.name}.{ending}": data for plot in plots for ending, data in ({"png": plot.png} | plot.papers).items()
    }
    return [write_bytes(Path(folder) / "plots" / name, data) for name, data in files.items()]


def _add_title(figure: Figure, title: str, subtitle: str) -> None:
    width, height = figure.get_size_inches()
    share = height / (height + 0.42)
    places = [axes.get_position().bounds for axes in figure.axes]
    figure.set_size_inches(width, height + 0.42)
    for axes, (x0, y0, wide, high) in zip(figure.axes, places, strict=True):  # the layout is done, and was not cheap
        axes.set_position((x0, y0 * share, wide, high * share))
    figure.text(0.012, 1 - 0.1 / (height + 0.42), title, fontsize=13, fontweight="bold", va="top")
    figure.text(0.988, 1 - 0.13 / (height + 0.42), subtitle, fontsize=9.5, color=theme.MUTED, va="top", ha="right")


def _svg(figure: Figure) -> str:
    text = svg(figure)
    text = text[text.index("<svg") :]
    # Only what the page needs: no addresses (name spaces, licences), no style sheet that would leak into it.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns|xmlns:xlink|version|width|height)="[^"]*"', "", text.partition(">")[0]) + (
        ">" + text.partition(">")[2]
    )
    return theme.themed(re.sub(r"\n\s*", "\n", text)).strip()
