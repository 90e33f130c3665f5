"""Colours that readers who confuse some still tell apart, and that stand out from the page."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from ecofed.config.methods import BUILT_IN
from ecofed.reports import theme
from ecofed.reports.plots.timeline import KIND_COLOURS

#: What is seen of linear RGB (Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009; severity 1).
SEEN_BY = {
    "all": np.eye(3),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopes": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopes": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
METHODS = [facts for facts in BUILT_IN.values() if facts.colour]
#: Cards, on which text stands.
PAGES = {"light": "#fefefe", "dark": "#1b2027"}


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x = XYZ @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_distance(colours: list[str], reader: str) -> float:
    seen = [lab(SEEN_BY[reader] @ linear(colour)) for colour in colours]
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2))


def test_the_measure_knows_black_from_white_and_red_from_green() -> None:
    assert least_distance(["#000000", "#ffffff"], "all") == pytest.approx(100, abs=0.1)
    assert least_distance(["#d70000", "#008700"], "deuteranopes") < 0.3 * least_distance(["#d70000", "#008700"], "all")


@pytest.mark.parametrize("reader", SEEN_BY)
def test_methods_stay_apart(reader: str) -> None:
    assert len(METHODS) == 7
    assert least_distance([str(facts.colour) for facts in METHODS], reader) > 17
    assert least_distance([str(facts.dark_colour) for facts in METHODS], reader) > 17


@pytest.mark.parametrize("reader", SEEN_BY)
def test_kinds_stay_apart(reader: str) -> None:
    assert least_distance(list(theme.KIND_COLOURS.values()), reader) > 13
    assert least_distance(list(KIND_COLOURS.values()), reader) > 30


@pytest.mark.parametrize("page", PAGES)
def test_method_colours_can_be_read_as_text(page: str) -> None:
    paper = float(np.array([0.2126, 0.7152, 0.0722]) @ linear(PAGES[page]))
    for facts in METHODS:
        colour = str(facts.colour if page == "light" else facts.dark_colour)
        ink = float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))
        darker, lighter = sorted((paper, ink))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, facts.name
