"""Who holds which labels: one column a device, one row a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecofed.reports import theme
from ecofed.reports.plots.names import short
from ecofed.results import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COUNTS_FIT = 14  # devices and classes up to which the number itself is written into a cell
_SEPARATE_FIT = 40  # devices up to which thin lines between cells help


def labels_figure(comparison: Comparison) -> Figure | None:
    """A map of sample counts (the darker, the more), under a strip with each device's total.

    Returns ``None`` where no counts are known.
    """
    from matplotlib.colors import LinearSegmentedColormap, to_rgb
    from matplotlib.figure import Figure

    data = comparison.results[0].data
    counts_DC = np.array(data.label_counts, dtype=np.float64)
    if counts_DC.size == 0 or counts_DC.max() <= 0:
        return None
    devices, classes = counts_DC.shape
    figure = Figure(figsize=(6.4, 1.5 + min(0.28 * classes, 4.2)), layout="constrained")
    strip, cells = figure.subplots(2, 1, sharex=True, height_ratios=(1, max(2.0, min(0.6 * classes, 8))))
    _draw_totals(strip, counts_DC.sum(axis=1))
    rgb = to_rgb(theme.CELL)
    # Opacity instead of shades: an empty cell shows the page, light or dark.
    shades = LinearSegmentedColormap.from_list("counts", [(*rgb, 0.10), (*rgb, 0.92)])
    masked_CD = np.ma.masked_less_equal(counts_DC.T, 0)
    image = cells.imshow(masked_CD, cmap=shades, vmin=0, aspect="auto", interpolation="nearest")
    cells.set_xlabel("device")
    cells.set_yticks(*_class_ticks(data.classes))
    cells.set_xticks(range(devices) if devices <= 20 else range(0, devices, 10 if devices <= 200 else devices // 20))
    cells.grid(visible=False)
    cells.spines[["left", "bottom"]].set_visible(False)
    cells.tick_params(length=0)
    if devices <= _SEPARATE_FIT:
        _separate(cells, devices, classes)
    if devices <= _COUNTS_FIT and classes <= _COUNTS_FIT:
        for (device, klass), count in np.ndenumerate(counts_DC):
            if count > 0:
                cells.text(device, klass, f"{count:.0f}", ha="center", va="center", fontsize=8.5)
    else:
        bar = figure.colorbar(image, ax=cells, pad=0.015, fraction=0.035, aspect=30)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label("samples", color=theme.MUTED)
    return figure


def _draw_totals(axes: Axes, totals_D: np.ndarray) -> None:
    axes.bar(range(len(totals_D)), totals_D, width=0.82, color=theme.MUTED, alpha=0.5, lw=0)
    axes.set_ylabel("samples", fontsize=9, rotation=0, ha="right", va="center", labelpad=16)
    axes.set_yticks([0, float(totals_D.max())])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0, labelbottom=False)
    axes.grid(visible=False)


def _class_ticks(classes: list[str]) -> tuple[list[int], list[str]]:
    step = -(-len(classes) // 25)  # at most 25 names fit
    places = list(range(0, len(classes), step))
    return places, [short(classes[place], 18) for place in places]


def _separate(axes: Axes, devices: int, classes: int) -> None:
    """Thin lines of the page's colour between cells."""
    for x in range(1, devices):
        axes.axvline(x - 0.5, color=theme.PAPER, lw=0.8)
    for y in range(1, classes):
        axes.axhline(y - 0.5, color=theme.PAPER, lw=0.8)
