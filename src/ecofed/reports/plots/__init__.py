"""The plots of a report, as PNG files and as SVG for the page. matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ecofed.files.disk import write_bytes
from ecofed.reports import theme
from ecofed.reports.plots.accuracy import accuracy_figure
from ecofed.reports.plots.kinds import kinds_figure
from ecofed.reports.plots.labels import labels_figure
from ecofed.reports.plots.names import short
from ecofed.reports.plots.style import drawing, png
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


def draw_plots(result: Comparison | RunResult) -> list[Plot]:
    """Draw every plot that the results have data for.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    comparison = as_comparison(result)
    plots = []
    for name, (title, draw) in DRAWERS.items():
        with drawing(name):
            figure = draw(comparison)
            if figure is not None:
                svg = _svg(figure)  # first: the page has headings of its own
                data = comparison.results[0].data
                _add_title(figure, title, f"{short(data.name, 40)}, {len(data.label_counts)} devices")
                plots.append(Plot(name=name, title=title, png=png(figure), svg=svg))
    return plots


def write_plots(result: Comparison | RunResult, folder: str | Path) -> list[Path]:
    """Draw every plot and write it as ``plots/NAME.png`` into the folder. Returns the paths."""
    return save_plots(draw_plots(result), folder)


def save_plots(plots: list[Plot], folder: str | Path) -> list[Path]:
    """Write drawn plots as ``plots/NAME.png``."""
    return [write_bytes(Path(folder) / "plots" / f"{plot.name}.png", plot.png) for plot in plots]


def _add_title(figure: Figure, title: str, subtitle: str) -> None:
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.42)
    figure.set_layout_engine("constrained", rect=(0, 0, 1, height / (height + 0.42)))
    figure.text(0.012, 1 - 0.1 / (height + 0.42), title, fontsize=13, fontweight="bold", va="top")
    figure.text(0.988, 1 - 0.13 / (height + 0.42), subtitle, fontsize=9.5, color=theme.MUTED, va="top", ha="right")


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Only what the page needs: no addresses (name spaces, licences), no style sheet that would leak into it.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns|xmlns:xlink|version|width|height)="[^"]*"', "", text.partition(">")[0]) + (
        ">" + text.partition(">")[2]
    )
    return theme.themed(re.sub(r"\n\s*", "\n", text)).strip()
