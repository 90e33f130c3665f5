"""A result as a notebook shows it: a headline, the table, and accuracy against bytes as inline SVG.

Nothing but numbers and text is needed: no Matplotlib, no styles or scripts of the page around it. The drawing has a
paper of its own, so that the reports' colours read in dark notebooks, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from ecofed.errors.foreign_text import clean_lines
from ecofed.reports import words
from ecofed.reports.curves import Curve, curve
from ecofed.reports.headline import headline
from ecofed.reports.tables import as_comparison, html_table
from ecofed.reports.theme import GRID, INK, PAPER, styles
from ecofed.reports.units import human_bytes
from ecofed.results import Comparison, RunResult
from ecofed.results.shown import draw_with

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 150, 14, 40
_DASHES = {"-": "", "--": "7 4", "-.": "7 3 2 3", ":": "2 3"}
_MOST_TICKS = 5
_LINE_HEIGHT = 17
_LONGEST_LABEL = 20


def notebook_html(result: Comparison | RunResult) -> str:
    """A fragment of HTML, every text of the result escaped."""
    comparison = as_comparison(result)
    parts = [
        f"<p><b>{escape(headline(comparison))}</b></p>",
        f"<div style='overflow-x:auto'>{html_table(comparison)}</div>",
        accuracy_svg(comparison),
        *(f"<p><small>{escape(line)}</small></p>" for line in words.warnings(comparison)),
    ]
    return clean_lines(f"<div class='ecofed'>{''.join(parts)}</div>")


def accuracy_svg(comparison: Comparison) -> str:
    """Accuracy against bytes (logarithmic), a line a method and a dot where it ends; empty where nothing was moved."""
    look = styles(comparison.groups())
    curves = {group.label: curve(group, "bytes") for group in comparison.groups()}
    drawn = {label: line for label, line in curves.items() if any(x > 0 for x in line.x)}
    if not drawn:
        return ""
    every_x = [x for line in drawn.values() for x in line.x if x > 0]
    every_y = [y for line in drawn.values() for y in line.mean]
    low, high = math.log10(min(every_x)), math.log10(max(every_x))
    low, high = (low, high) if high - low > 0.05 else (low - 0.5, high + 0.5)
    bottom, top = _round_bounds(min(every_y), max(every_y))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - low) / (high - low)
        up = (y - bottom) / (top - bottom)
        return _LEFT + across * (_WIDTH - _LEFT - _RIGHT), _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' "
        "aria-label='Test accuracy against bytes' style='max-width:640px;width:100%;font:12px sans-serif'>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='{PAPER}'/>",
    ]
    left, right, base = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for step in range(3):
        value = bottom + step * (top - bottom) / 2
        y = base - step * (base - _TOP) / 2
        parts.append(f"<path d='M{left} {y:.1f}H{right}' stroke='{GRID}'/>")
        parts.append(_text(left - 6, y + 4, f"{value:.2f}", "end"))
    for exponent in _decades(low, high):
        x, _ = place(10**exponent, bottom)
        parts.append(_text(x, base + 16, human_bytes(10**exponent), "middle"))
    parts.append(_text((left + right) / 2, _HEIGHT - 6, "bytes of all devices, both ways", "middle"))
    ends: list[tuple[float, str, str]] = []
    for label, line in drawn.items():
        colour = look[label].colour
        points = _points(line, place)
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        dash = _DASHES.get(look[label].line, "")
        parts.append(
            f"<path d='M{path}' fill='none' stroke='{escape(colour)}' stroke-width='2' stroke-dasharray='{dash}'/>"
        )
        x, y = points[-1]
        parts.append(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{escape(colour)}'/>")
        ends.append((y, label, colour))
    parts += _labels(ends, right + 12)
    return "".join(parts) + "</svg>"


def _points(line: Curve, place: Callable[[float, float], tuple[float, float]]) -> list[tuple[float, float]]:
    return [place(x, y) for x, y in zip(line.x, line.mean, strict=True) if x > 0]


def _round_bounds(low: float, high: float) -> tuple[float, float]:
    """Tenths around the values, at least two of them apart."""
    bottom, top = math.floor(low * 10) / 10, math.ceil(high * 10) / 10
    if top - bottom < 0.15:
        bottom, top = max(0.0, bottom - 0.1), min(1.0, top + 0.1)
    return bottom, top


def _decades(low: float, high: float) -> Sequence[float]:
    """Exponents of the ticks: whole decades, fewer of them where there are many, the ends where there is none."""
    whole = list(range(math.ceil(low), math.floor(high) + 1))
    if len(whole) < 2:
        return (low, high)
    return whole[:: math.ceil(len(whole) / _MOST_TICKS)]


def _labels(ends: list[tuple[float, str, str]], x: float) -> list[str]:
    """Names beside the ends of the lines, none on another."""
    places: list[float] = []
    for y, _, _ in sorted(ends):
        places.append(max(y, places[-1] + _LINE_HEIGHT) if places else y)
    above = max(0.0, places[-1] - (_HEIGHT - _LINE_HEIGHT))
    parts = []
    for y, (_, label, colour) in zip(places, sorted(ends), strict=True):
        name = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
        parts.append(f"<circle cx='{x:.1f}' cy='{y - above:.1f}' r='4' fill='{escape(colour)}'/>")
        parts.append(_text(x + 8, y - above + 4, name, "start"))
    return parts


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{INK}' text-anchor='{anchor}'>{escape(text)}</text>"


draw_with(notebook_html)
