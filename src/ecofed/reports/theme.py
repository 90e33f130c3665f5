"""Colours and marks that every plot and the page share: one colour and one marker a method, everywhere.

The method colours keep at least 4.5:1 contrast to the page in both themes, and stay apart for readers with
deuteranopia, protanopia and tritanopia (the least distance between two of them, as Machado et al., 2009, simulate
these, is 17 in CIE Lab; 13 between two kinds of bytes). Plots are drawn
once, in the light theme; in the page each colour becomes a CSS variable, so that a plot follows the reader's theme.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecofed.config.facts import Facts
from ecofed.config.methods import BUILT_IN, OURS, find_facts
from ecofed.config.registry import methods as plugin_methods
from ecofed.results import RunGroup

INK = "#1c2430"
MUTED = "#5b6673"
GRID = "#e4e8ec"
PAPER = "#fefefe"
#: Cells of the label map: a mid-tone that reads on both pages; the count is its opacity.
CELL = "#2f7fd6"

SPARE_COLOURS = ("#4a5568", "#566b00", "#7a4a12", "#5b3a8c")

KIND_COLOURS = {
    "weights": "#3f51a3",
    "front": "#7fb7e6",
    "activations": "#e0a21b",
    "gradients": "#b4432f",
    "labels": "#54a952",
    "logits": "#9d6bb8",
    "statistics": "#9ac3b0",
    "images": "#bd577e",
    "control": "#97a1ad",
}
KIND_MEANINGS = {
    "weights": "parameters of the network, or of an auxiliary classifier",
    "front": "the pre-trained front, delivered to a device once",
    "activations": "outputs of the front, quantised where the method does so",
    "gradients": "gradients at the cut",
    "labels": "class labels of the samples",
    "logits": "class scores, for distillation",
    "statistics": "aggregates over samples, such as constants of normalisation",
    "images": "the images themselves, compressed",
    "control": "all framing: headers, checksums, requests",
}

_DARK = {
    INK: "#e8ebef",
    MUTED: "#a3adb8",
    GRID: "#323a44",
    PAPER: "#1b2027",
    "#4a5568": "#b8c2cf",
    "#566b00": "#b9d34a",
    "#7a4a12": "#d9a566",
    "#5b3a8c": "#b79be8",
    "#3f51a3": "#8494ea",
}


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a group of runs is drawn."""

    colour: str
    marker: str
    line: str
    weight: float
    """Line width in points."""


def styles(groups: list[RunGroup]) -> dict[str, Style]:
    """A style for each group's label. Groups of one method share its colour and differ in the dashes."""
    table: dict[str, Style] = {}
    seen: dict[str, int] = {}
    spare: dict[str, str] = {}
    for group in groups:
        variant = seen.get(group.method, 0)
        seen[group.method] = variant + 1
        own = colour_of(group.method)
        if own is None:
            spare.setdefault(group.method, SPARE_COLOURS[len(spare) % len(SPARE_COLOURS)])
        table[group.label] = Style(
            colour=own or spare[group.method],
            marker=marker_of(group.method) or "P",
            line=("-", "--", "-.", ":")[variant % 4],
            weight=2.6 if group.method == OURS else 1.8,
        )
    return table


def colour_of(method: str) -> str | None:
    """The method's own; ``None``: it has none, or is not known here (any more)."""
    return (find_facts(method) or Facts).colour


def marker_of(method: str) -> str | None:
    """As :func:`colour_of`."""
    return (find_facts(method) or Facts).marker


def _dark() -> dict[str, str]:
    """What stands for each colour of the light theme in the dark one."""
    declared = [*BUILT_IN.values(), *(entry.cls for entry in plugin_methods().values())]
    return _DARK | {facts.colour: facts.dark_colour for facts in declared if facts.colour and facts.dark_colour}


def css_name(colour: str) -> str:
    """The CSS variable that stands for a colour of the light theme."""
    return f"--c{colour.removeprefix('#')}"


def css_variables(*, dark: bool) -> str:
    """Declarations of every colour for one theme."""
    return "".join(f"{css_name(light)}:{other if dark else light};" for light, other in _dark().items())


def themed(text: str) -> str:
    """Replace the light theme's colours in an SVG's styles by the variables."""
    for light in _dark():
        text = text.replace(f": {light}", f": var({css_name(light)})")
    return text
