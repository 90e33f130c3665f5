"""What server and devices do in one round: one row each, by the simulated clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecofed.reports import theme
from ecofed.reports.plots.names import short
from ecofed.reports.units import human_seconds
from ecofed.results import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Spans = Sequence[Sequence[Any]]
"""``[actor, kind, start, end]``, as in :class:`ecofed.results.RoundRecord`."""

KIND_COLOURS = {"receive": "#9aa3ad", "infer": "#3f51a3", "train": "#b4432f", "send": "#e0a21b"}
KIND_WORDS = {"receive": "receives", "infer": "runs the front", "train": "trains", "send": "sends"}


def timeline_figure(comparison: Comparison) -> Figure | None:
    """Round 1 of each method, below one another, on one time axis.

    Returns ``None`` where no run has a clock.
    """
    rounds = first_rounds(comparison)
    return draw_timelines(rounds) if rounds else None


def first_rounds(comparison: Comparison) -> dict[str, Spans]:
    """What happened in round 1, by the label of those that have a clock."""
    rounds: dict[str, Spans] = {}
    for group in comparison.groups():
        first = group.results[0].rounds[:1]
        if first and first[0].timeline:
            rounds[group.label] = first[0].timeline
    return rounds


def draw_timelines(rounds: Mapping[str, Spans]) -> Figure:
    """One panel for each of these rounds, all on one axis. Where little would be seen of a round it is drawn again
    beside, stretched to what room is left."""
    from matplotlib.figure import Figure

    actors = {label: actors_of(spans) for label, spans in rounds.items()}
    heights = [0.3 + 0.17 * len(rows) for rows in actors.values()]
    figure = Figure(figsize=(6.4, 0.8 + sum(heights) * 1.3), layout="constrained")
    panels = figure.subplots(len(rounds), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights})[:, 0]
    ends = {label: max(float(span[3]) for span in spans) for label, spans in rounds.items()}
    longest = max(ends.values()) or 1.0
    for axes, (label, spans) in zip(panels, rounds.items(), strict=True):
        _draw(axes, spans, actors[label])
        axes.set_title(f"{short(label, 40)}: {human_seconds(ends[label])}", fontsize=10)
        axes.set_yticks(range(len(actors[label])), [actor_name(one) for one in actors[label]], fontsize=8)
        if 0 < ends[label] < longest / 5:
            left = ends[label] / longest + 0.06
            wider = axes.inset_axes((left, 0, 1 - left, 1))
            _draw(wider, spans, actors[label])
            wider.set_xlim(0, ends[label])
            wider.set_xticks([])
            wider.set_yticks([])
            wider.set_facecolor(theme.GRID)
            wider.patch.set_alpha(0.5)
            wider.spines[["left", "bottom"]].set_visible(False)
            factor = (1 - left) * longest / ends[label]
            wider.set_title(
                f"the same, {factor:.0f}x as wide", fontsize=8, fontweight="normal", color=theme.MUTED, loc="right"
            )
    panels[-1].set_xlim(0, longest)
    panels[-1].xaxis.set_major_formatter(lambda value, _: human_seconds(value) if value else "0")
    panels[-1].set_xlabel("simulated time of the first round", fontsize=9)
    used = [kind for kind in KIND_COLOURS if any(span[1] == kind for spans in rounds.values() for span in spans)]
    handles = [_patch(kind) for kind in used]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(used), frameon=False, fontsize=9)
    return figure


def actors_of(spans: Spans) -> list[str]:
    """Devices by number, the server last."""
    devices = sorted({str(span[0]) for span in spans if span[0] != "server"}, key=int)
    return [*devices, *(["server"] if any(span[0] == "server" for span in spans) else [])]


def actor_name(actor: str) -> str:
    """As a row of the plot is called."""
    return actor if actor == "server" else f"device {actor}"


def _draw(axes: Axes, spans: Spans, actors: Sequence[str]) -> None:
    for kind, colour in KIND_COLOURS.items():
        for row, actor in enumerate(actors):
            bars = [(span[2], span[3] - span[2]) for span in spans if (span[0], span[1]) == (actor, kind)]
            # Sending and computing may overlap: the link's bar is the lower, thinner one.
            offset, height = (0.02, 0.34) if kind in ("send", "receive") else (-0.4, 0.4)
            # The thin edge keeps what is shorter than a pixel visible.
            axes.broken_barh(bars, (row + offset, height), facecolors=colour, edgecolors=colour, linewidth=0.3)
    axes.set_ylim(len(actors) - 0.4, -0.6)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="y", visible=False)


def _patch(kind: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=KIND_COLOURS[kind], label=KIND_WORDS[kind])
