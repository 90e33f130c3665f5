"""How much each setting mattered in a search: one bar a key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ecofed.files.disk import write_bytes
from ecofed.reports import theme
from ecofed.reports.plots.style import drawing, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_importance_plot(importance: Mapping[str, float], path: Path) -> None:
    """Draw it as PNG; ``importance`` adds up to 1.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    with drawing("importance", "the plot of a search"):
        content = png(importance_figure(importance))
    write_bytes(path, content)


def importance_figure(importance: Mapping[str, float]) -> Figure:
    """The plot, the most important key on top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 1.2 + 0.4 * len(importance)), layout="constrained")
    axes = figure.add_subplot()
    names = sorted(importance, key=lambda name: importance[name])
    bars = axes.barh(names, [importance[name] for name in names], color=theme.MUTED)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, color=theme.INK)
    axes.set_xlim(0, 1.12 * max(importance.values()))
    axes.set_xlabel("importance (PED-ANOVA, adds up to 1)")
    return figure
