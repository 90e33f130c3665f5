"""What makes a page interactive: the numbers behind its charts as JSON, and the script that draws them.

The script is a few files beside this one, put into the page as they are. The page's policy names their hash: no other
script runs in it, whatever a class name, a note or a label contains.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from ecofed.files.disk import json_text
from ecofed.reports import theme
from ecofed.reports.curves import Axis, Curve, curve
from ecofed.reports.plots.frontier import compared_points, device_floors
from ecofed.reports.plots.timeline import KIND_COLOURS, KIND_WORDS, actor_name, actors_of, first_rounds
from ecofed.reports.tables import floors
from ecofed.results import Comparison

#: In this order: each uses what those before it define.
_SCRIPTS = ("page.js", "charts.js", "labels.js", "lines.js", "frontier.js", "timelines.js", "start.js")
#: Of a longer line every so-manieth point is told, the last one always.
MOST_POINTS = 600
_DASHES = {"-": "", "--": "9 5", "-.": "9 4 2 4", ":": "2 4"}
AXES: tuple[Axis, ...] = ("bytes", "round", "seconds")


def asset(name: str) -> str:
    """A file that becomes part of the page."""
    return resources.files("ecofed.reports").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def script() -> str:
    """The page's whole script."""
    return "\n".join(asset(name) for name in _SCRIPTS)


def script_hash() -> str:
    """As a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()


def scripts(comparison: Comparison) -> str:
    """The elements at the end of the page: data that nothing executes, then the script."""
    data = f"<script type='application/json' id='figures'>{embedded(figures(comparison))}</script>"
    return f"{data}<script>{script()}</script>"


def embedded(values: Any) -> str:
    """JSON that cannot end the element that it stands in, whatever its strings contain."""
    text = json_text(values)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def figures(comparison: Comparison) -> dict[str, Any]:
    """The numbers of the charts, by chart."""
    lines = _lines(comparison)
    marks = [{"label": label, "bytes": size} for label, size in floors(comparison)]
    return {
        "lines": {"lines": lines, "floors": marks} if lines else None,
        "frontier": _frontier(comparison),
        "timelines": _timelines(comparison),
    }


def _frontier(comparison: Comparison) -> dict[str, Any] | None:
    points = compared_points(comparison)
    if len(points) < 2:
        return None
    looks = theme.styles(comparison.groups())
    return {
        "points": [
            {
                "label": point.label,
                "colour": _css(point.colour or theme.INK),
                "marker": looks[point.label].marker,
                "bytes": float(f"{point.bytes_per_device:.6g}"),
                "accuracy": round(point.accuracy, 5),
                "efficient": point.efficient,
            }
            for point in points
        ],
        "floors": [{"label": label, "bytes": round(size)} for label, size in device_floors(comparison)],
    }


def _timelines(comparison: Comparison) -> dict[str, Any] | None:
    rounds = first_rounds(comparison)
    if not rounds:
        return None
    methods = [
        {
            "label": label,
            "end": max(float(span[3]) for span in spans),
            "rows": [
                {
                    "name": actor_name(actor),
                    "spans": [
                        [kind, *(float(f"{at:.6g}") for at in times)] for who, kind, *times in spans if who == actor
                    ],
                }
                for actor in actors_of(spans)
            ],
        }
        for label, spans in rounds.items()
    ]
    kinds = {kind: {"colour": _css(colour), "word": KIND_WORDS[kind]} for kind, colour in KIND_COLOURS.items()}
    return {"methods": methods, "kinds": kinds}


def _css(colour: str) -> str:
    """A colour that follows the theme where it can."""
    return f"var({theme.css_name(colour)}, {colour})"


def _lines(comparison: Comparison) -> list[dict[str, Any]]:
    looks = theme.styles(comparison.groups())
    lines = []
    for group in comparison.groups():
        known = {axis: curve(group, axis) for axis in AXES}
        by_round = known["round"]
        if not by_round.x:
            continue
        picked = _picked(by_round)
        look = looks[group.label]
        line: dict[str, Any] = {
            "label": group.label,
            "colour": _css(look.colour),
            "marker": look.marker,
            "dash": _DASHES[look.line],
            "weight": look.weight,
            "rounds": [int(by_round.x[at]) for at in picked],
            "mean": [round(by_round.mean[at], 5) for at in picked],
        }
        if by_round.low != by_round.high:
            line["low"] = [round(by_round.low[at], 5) for at in picked]
            line["high"] = [round(by_round.high[at], 5) for at in picked]
        for axis, one in known.items():
            if len(one.x) == len(by_round.x):  # without a clock there is no time
                line[axis] = [float(f"{one.x[at]:.6g}") for at in picked]
        lines.append(line)
    return lines


def _picked(one: Curve) -> list[int]:
    step = -(-len(one.x) // MOST_POINTS)
    return sorted({*range(0, len(one.x), step), len(one.x) - 1})
