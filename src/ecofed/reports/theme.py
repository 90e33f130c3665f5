"""Colours and marks that every plot and the page share: one colour and one marker a method, everywhere.

The method colours keep at least 4.5:1 contrast to the page in both themes, and stay apart for readers with
deuteranopia, protanopia and tritanopia (the least distance between two of them is 20 in CIE Lab). Plots are drawn
once, in the light theme; in the page each colour becomes a CSS variable, so that a plot follows the reader's theme.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecofed.registry import methods as plugin_methods
from ecofed.results import RunGroup

INK = "#1c2430"
MUTED = "#5b6673"
GRID = "#e4e8ec"
PAPER = "#fefefe"
#: Cells of the label map: a mid-tone that reads on both pages; the count is its opacity.
CELL = "#2f7fd6"

METHOD_COLOURS = {
    "ecofed": "#0f8560",
    "classic-fl": "#16397f",
    "vanilla-dpfl": "#8f1d0a",
    "lgl": "#a838c9",
    "fedgkt": "#8f6f06",
    "send-images": "#00718c",
    "closed-form": "#a3355f",
}
METHOD_MARKERS = {
    "ecofed": "o",
    "classic-fl": "s",
    "vanilla-dpfl": "^",
    "lgl": "D",
    "fedgkt": "v",
    "send-images": "P",
    "closed-form": "X",
}
SPARE_COLOURS = ("#4a5568", "#566b00", "#7a4a12", "#5b3a8c")

KIND_COLOURS = {
    "weights": "#3f51a3",
    "front": "#7fb7e6",
    "activations": "#e0a21b",
    "gradients": "#b4432f",
    "labels": "#54a24b",
    "logits": "#9d6bb8",
    "statistics": "#5aa9a3",
    "images": "#b8567f",
    "control": "#9aa3ad",
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
    "#0f8560": "#3fe0a2",
    "#16397f": "#b4d8ff",
    "#8f1d0a": "#ea6a58",
    "#a838c9": "#d65cf0",
    "#8f6f06": "#f5d565",
    "#4a5568": "#b8c2cf",
    "#00718c": "#4fc3df",
    "#a3355f": "#f08fb0",
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
        plugin = plugin_methods().get(group.method)
        own = METHOD_COLOURS.get(group.method) or (plugin and plugin.colour)
        if own is None:
            spare.setdefault(group.method, SPARE_COLOURS[len(spare) % len(SPARE_COLOURS)])
        table[group.label] = Style(
            colour=own or spare[group.method],
            marker=METHOD_MARKERS.get(group.method) or (plugin and plugin.marker) or "P",
            line=("-", "--", "-.", ":")[variant % 4],
            weight=2.6 if group.method == "ecofed" else 1.8,
        )
    return table


def css_name(colour: str) -> str:
    """The CSS variable that stands for a colour of the light theme."""
    return f"--c{colour.removeprefix('#')}"


def css_variables(*, dark: bool) -> str:
    """Declarations of every colour for one theme."""
    return "".join(f"{css_name(light)}:{other if dark else light};" for light, other in _DARK.items())


def themed(text: str) -> str:
    """Replace the light theme's colours in an SVG's styles by the variables."""
    for light in _DARK:
        text = text.replace(f": {light}", f": var({css_name(light)})")
    return text
