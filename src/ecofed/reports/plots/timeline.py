"""What server and devices do in one round: one row each, by the simulated clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecofed.reports.units import human_seconds
from ecofed.results import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Spans = Sequence[Sequence[Any]]
"""``[actor, kind, start, end]``, as in :class:`ecofed.results.RoundRecord`."""

KIND_COLOURS = {"receive": "#9aa3ad", "infer": "#3f51a3", "train": "#b4432f", "send": "#e0a21b"}
_KIND_WORDS = {"receive": "receives", "infer": "runs the front", "train": "trains", "send": "sends"}


def timeline_figure(comparison: Comparison) -> Figure | None:
    """Round 1 of each method, below one another; every method has a time axis of its own.

    Returns ``None`` where no run has a clock.
    """
    rounds = {}
    for group in comparison.groups():
        first = group.results[0].rounds[:1]
        if first and first[0].timeline:
            rounds[group.label] = first[0].timeline
    return draw_timelines(rounds) if rounds else None


def draw_timelines(rounds: Mapping[str, Spans]) -> Figure:
    """One panel for each of these rounds."""
    from matplotlib.figure import Figure

    actors = {label: _actors(spans) for label, spans in rounds.items()}
    heights = [0.45 + 0.17 * len(rows) for rows in actors.values()]
    figure = Figure(figsize=(6.4, 0.5 + sum(heights) * 1.35), layout="constrained")
    panels = figure.subplots(len(rounds), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, (label, spans) in zip(panels, rounds.items(), strict=True):
        _draw(axes, label, spans, actors[label])
    used = [kind for kind in KIND_COLOURS if any(span[1] == kind for spans in rounds.values() for span in spans)]
    handles = [_patch(kind) for kind in used]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(used), frameon=False, fontsize=9)
    return figure


def _actors(spans: Spans) -> list[str]:
    """Devices by number, the server last."""
    devices = sorted({str(span[0]) for span in spans if span[0] != "server"}, key=int)
    return [*devices, *(["server"] if any(span[0] == "server" for span in spans) else [])]


def _draw(axes: Axes, label: str, spans: Spans, actors: Sequence[str]) -> None:
    end = max(float(span[3]) for span in spans)
    for kind, colour in KIND_COLOURS.items():
        for row, actor in enumerate(actors):
            bars = [(span[2], span[3] - span[2]) for span in spans if (span[0], span[1]) == (actor, kind)]
            # Sending and computing may overlap: the link's bar is the lower, thinner one.
            offset, height = (0.02, 0.34) if kind in ("send", "receive") else (-0.4, 0.4)
            # The thin edge keeps what is shorter than a pixel visible.
            axes.broken_barh(bars, (row + offset, height), facecolors=colour, edgecolors=colour, linewidth=0.3)
    axes.set_yticks(range(len(actors)), [f"device {name}" if name != "server" else name for name in actors], fontsize=8)
    axes.set_ylim(len(actors) - 0.4, -0.6)
    axes.set_xlim(0, end)
    axes.xaxis.set_major_formatter(lambda value, _: human_seconds(value) if value else "0")
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="y", visible=False)
    axes.set_title(f"{label}: {human_seconds(end)}", fontsize=10)


def _patch(kind: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=KIND_COLOURS[kind], label=_KIND_WORDS[kind])
