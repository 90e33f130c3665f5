"""Bytes by kind: how much each method moved in each direction, and what it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecofed.reports import theme
from ecofed.reports.plots.names import short
from ecofed.reports.units import human_bytes
from ecofed.results import DIRECTIONS, LEDGER_KINDS, Comparison, RunGroup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEGEND_COLUMNS = 5
_ARROWS = {"uplink": "up", "downlink": "down"}


def kinds_figure(comparison: Comparison) -> Figure | None:
    """Two panels over the same rows (a method and a direction): amounts on one scale, and shares of each row.

    Returns ``None`` where nothing crossed the wire.
    """
    from matplotlib.figure import Figure

    groups = comparison.groups()
    bars = [(group, direction, ledger_mean(group, direction)) for group in groups for direction in DIRECTIONS]
    largest = max((sum(bar.values()) for _, _, bar in bars), default=0)
    if not largest:
        return None
    kinds = [kind for kind in ledger_kinds(comparison) if any(bar.get(kind) for _, _, bar in bars)]
    # Each method's two bars stand together.
    heights = [row * 0.78 + row // 2 * 0.44 for row in range(len(bars))]
    rows_height = 0.8 + 0.62 * len(groups)
    legend_height = 0.3 if len(kinds) <= _LEGEND_COLUMNS else 0.5
    figure = Figure(figsize=(6.4, rows_height + legend_height), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(legend_height, rows_height), width_ratios=(1.15, 1))
    legend, amounts = figure.add_subplot(grid[0, :]), figure.add_subplot(grid[1, 0])
    shares = figure.add_subplot(grid[1, 1], sharey=amounts)
    for height, (_, _, bar) in zip(heights, bars, strict=True):
        total = sum(bar.values())
        _stack(amounts, height, bar, kinds, 1.0)
        _stack(shares, height, bar, kinds, 100 / total if total else 0.0)
        amounts.annotate(
            human_bytes(total), (total, height), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
        )
    _finish(amounts, "how much (one linear scale)")
    amounts.set_xlim(0, largest * 1.3)
    amounts.xaxis.set_visible(False)
    amounts.grid(visible=False)
    _finish(shares, "what it was made of, %")
    shares.set_xlim(0, 100)
    shares.set_xticks([0, 50, 100])
    shares.grid(visible=False)
    amounts.set_yticks(heights, [_ARROWS[direction] for _, direction, _ in bars], fontsize=9)
    amounts.set_ylim(heights[-1] + 0.6, -0.6)
    styles = theme.styles(groups)
    for group, height in zip(groups, heights[::2], strict=True):
        amounts.annotate(
            # Settings that tell variants apart go under the method's name, one a line.
            "\n".join(short(part, 20) for part in group.label.split()[:4]),
            (0, height + 0.39),
            xycoords=("axes fraction", "data"),
            xytext=(-38, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=styles[group.label].colour,
            fontweight="bold" if styles[group.label].weight > 2 else "normal",
        )
    shares.tick_params(labelleft=False)
    legend.set_axis_off()
    legend.legend(
        # matplotlib fills a legend by columns; this order reads by rows.
        handles=[_patch(kind) for column in range(_LEGEND_COLUMNS) for kind in kinds[column::_LEGEND_COLUMNS]],
        loc="center left",
        borderpad=0,
        ncols=min(len(kinds), _LEGEND_COLUMNS),
        frameon=False,
        fontsize=9,
        handlelength=0.9,
        handleheight=0.9,
        handletextpad=0.5,
        columnspacing=1.3,
    )
    return figure


def ledger_kinds(comparison: Comparison) -> list[str]:
    """The known kinds in their order, then any other that a ledger holds."""
    found = {kind for result in comparison.results for kind in result.ledger}
    return [kind for kind in LEDGER_KINDS if kind in found] + sorted(found - set(LEDGER_KINDS))


def ledger_mean(group: RunGroup, direction: str) -> dict[str, float]:
    """Bytes by kind in one direction, mean over the group's seeds."""
    kinds = {kind for result in group.results for kind in result.ledger}
    return {
        kind: sum(result.ledger.get(kind, {}).get(direction, 0) for result in group.results) / len(group.results)
        for kind in kinds
    }


def _stack(axes: Axes, height: float, bar: dict[str, float], kinds: list[str], factor: float) -> None:
    left = 0.0
    for kind in kinds:
        width = bar.get(kind, 0) * factor
        if width:
            axes.barh(height, width, left=left, height=0.66, color=_colour(kind), lw=0)
        left += width


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, fontweight="normal", color=theme.MUTED)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)


def _colour(kind: str) -> str:
    return theme.KIND_COLOURS.get(kind, theme.MUTED)


def _patch(kind: str) -> object:
    from matplotlib.patches import Patch

    return Patch(color=_colour(kind), label=short(kind, 14))
