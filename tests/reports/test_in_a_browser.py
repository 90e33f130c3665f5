"""The page as a reader has it: in a browser, with the mouse, in the dark, on a telephone, and without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecofed.config.methods import PAPER_METHODS
from ecofed.reports.html import report_html, write_report
from ecofed.reports.plots import draw_plots
from ecofed.results import Comparison, RunResult
from reports.browser import BROWSERS, Page, browsing, find_browser

pytestmark = [
    pytest.mark.plots,
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason=f"no browser: none of {', '.join(BROWSERS)} is installed"),
]
Make = Callable[..., RunResult]

HEADS = "[...document.querySelectorAll('table.results tbody th')].map(e => e.textContent)"
SHOWN = "[...document.querySelectorAll('table.results thead th')].filter(e => e.offsetWidth).map(e => e.textContent)"
LINES = "[...document.querySelectorAll('.plane .line')].map(e => e.dataset.label)"
TIP = "document.querySelector('.tip').hidden ? '' : document.querySelector('.tip').textContent"
#: Elements that stick out on the right, but for what may be scrolled.
CUT = """[...document.querySelectorAll('main *')].filter(e => !e.closest('svg') && !e.closest('.scroll')
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)"""
SCROLLED = "[...document.querySelectorAll('.scroll:has(table)')].filter(e => e.scrollWidth > e.clientWidth + 1).length"


def in_time(result: RunResult, end: float) -> RunResult:
    """With a first round that took so many seconds."""
    spans = [["0", "infer", 0.0, end / 2], ["0", "send", end / 4, end * 0.8], ["server", "train", end * 0.8, end]]
    return replace(result, rounds=[replace(result.rounds[0], timeline=spans), *result.rounds[1:]])


@pytest.fixture(scope="module")
def file(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of five methods with a clock."""
    runs = [
        in_time(make(method, simulated=True), end) for method, end in zip(PAPER_METHODS, (9, 8, 7, 6, 1), strict=True)
    ]
    return write_report(Comparison(results=runs, command="ecofed compare quickstart"), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One browser for all tests here."""
    with browsing(tmp_path_factory.mktemp("profile"), find_browser() or "") as page:
        yield page


def test_the_charts_are_drawn_and_nobody_complains(tab: Page, file: Path) -> None:
    tab.open(file)
    assert tab.value(LINES) == list(PAPER_METHODS)
    assert tab.value("[...document.querySelectorAll('figure')].filter(e => e.offsetWidth && e.innerText).length") >= 2
    assert tab.said == []


def test_hover_shows_values(tab: Page, file: Path) -> None:
    tab.open(file)
    tab.click("[data-axis=round]")
    x, y = tab.centre(".plane")
    assert tab.value(TIP) == ""
    tab.mouse("mouseMoved", x, y)
    tip = tab.value(TIP)
    assert tip.startswith("round 1")
    assert all(method in tip for method in PAPER_METHODS)
    assert tip.count("0.") == 5
    tab.mouse("mouseMoved", x, 5)
    assert tab.value(TIP) == ""


def test_axes_zoom_and_lines_answer(tab: Page, file: Path) -> None:
    tab.open(file)
    axis = "[...document.querySelectorAll('[data-chart=lines] .ticks text')].map(e => e.textContent).join(' ')"
    bytes_ = tab.value(axis)
    assert "MB" in bytes_
    assert "(log scale)" in bytes_
    tab.click("[data-axis=seconds]")
    assert "min" in tab.value(axis)
    tab.click(".controls input")
    assert "(log scale)" not in tab.value(axis)
    tab.click("[data-axis=bytes]")
    x, y = tab.centre(".plane")
    tab.mouse("mousePressed", x - 100, y, clicks=1, buttons=1)
    for step in (-50, 0, 100):
        tab.mouse("mouseMoved", x + step, y, buttons=1)
    tab.mouse("mouseReleased", x + 100, y, clicks=1)
    assert tab.value(axis) != bytes_
    tab.click(".plane", times=2)
    assert tab.value(axis) == bytes_
    tab.mouse("mouseWheel", x, y, deltaX=0, deltaY=-200)  # focused by the click
    assert tab.value(axis) != bytes_
    tab.click(".keys button")
    assert tab.value(LINES) == list(PAPER_METHODS[1:])
    tab.click(".keys button")
    assert tab.value(LINES) == list(PAPER_METHODS)
    assert tab.said == []


def test_the_timeline_tells_what_a_device_does(tab: Page, file: Path) -> None:
    tab.open(file)
    plane = "[data-chart=timelines] .plane"
    assert tab.value(f"document.querySelectorAll('{plane} rect').length") > 15
    tab.centre(plane)
    x, y = tab.value(f"(b => [b.x + 90, b.y + 12 + 33])(document.querySelector('{plane}').getBoundingClientRect())")
    tab.mouse("mouseMoved", x, y)
    tip = tab.value("document.querySelector('[data-chart=timelines] .tip').textContent")
    assert tip.startswith("classic-fl, device 0, at 0.")
    assert tip.endswith("runs the front0 s to 4.5 s")


def test_the_frontier_names_what_is_pointed_at(tab: Page, file: Path) -> None:
    tab.open(file)
    mark = ".plane .point[data-label=lgl]"
    tab.mouse("mouseMoved", *tab.centre(mark))
    tip = tab.value("document.querySelector('[data-chart=frontier] .tip').textContent")
    assert tip.startswith("lglfinal accuracy0.7")
    assert tip.endswith("on the frontierno")


def test_a_click_sorts_the_table(tab: Page, file: Path) -> None:
    tab.open(file)
    before = tab.value(HEADS)
    assert before[:5] == list(PAPER_METHODS)
    tab.click("table.results thead th:nth-child(3) button")
    assert tab.value(HEADS)[:3] == ["every image once (PNG)", "every image once (raw)", "ecofed"]
    tab.click("table.results thead th:nth-child(3) button")
    assert tab.value(HEADS)[-1] == "every image once (PNG)"
    tab.click("table.results thead th:nth-child(2) button")
    assert tab.value(HEADS)[0] == "ecofed"  # the best; floors have no accuracy and stay below
    assert tab.value(HEADS)[-1].startswith("every image")
    assert tab.value("document.querySelectorAll('[aria-sort]').length") == 1


def test_few_columns_first_and_none_is_cut(tab: Page, file: Path) -> None:
    tab.open(file)
    few = tab.value(SHOWN)
    assert len(few) == 6
    tab.click("input.all")
    assert len(tab.value(SHOWN)) == 11
    for font in ("DejaVu Sans", "Liberation Sans"):  # the widest usual one, and the metrics of Arial
        tab.value(f"document.body.style.fontFamily = {font!r}")
        assert (tab.value(SCROLLED), tab.value(CUT)) == (0, [])


def test_a_telephone_reads_it(tab: Page, file: Path) -> None:
    tab.open(file, width=400, height=800)
    assert tab.value("document.documentElement.scrollWidth") <= 400
    sizes = tab.value(
        "[...document.querySelectorAll('svg text')].filter(e => e.getBoundingClientRect().width).map(e =>"
        " parseFloat(getComputedStyle(e).fontSize) * (e.ownerSVGElement.getBoundingClientRect().width"
        " / (e.ownerSVGElement.viewBox.baseVal.width || e.ownerSVGElement.getBoundingClientRect().width)))"
    )
    assert len(sizes) > 20
    assert min(sizes) >= 10.5
    tab.mouse("mouseMoved", *tab.centre(".plane"))
    assert "ecofed" in tab.value(TIP)
    assert tab.value("document.documentElement.scrollWidth") <= 400


def test_a_page_that_renews_itself_keeps_what_was_chosen(tab: Page, make: Make, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = make(rounds=4)
    plots = draw_plots(result)
    page.write_text(report_html(result, plots, renews=1), encoding="utf-8")
    tab.open(page)
    tab.click("[data-axis=round]")
    page.write_text(report_html(make(rounds=9), plots, renews=1), encoding="utf-8")
    tab.wait()
    assert tab.value("document.querySelector('[data-axis=round]').getAttribute('aria-pressed')") == "true"
    tab.mouse("mouseMoved", *tab.centre(".plane"))
    assert tab.value(TIP).startswith(("round 4", "round 5"))
    tab.wait()
    assert tab.said == []


def test_a_finger_reads_values(tab: Page, file: Path) -> None:
    tab.open(file, width=400, height=800)
    x, y = tab.centre(".plane")
    tab.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    tab.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert "ecofed" in tab.value(TIP)


def test_the_dark_theme_is_dark(tab: Page, file: Path) -> None:
    def light(selector: str, name: str) -> float:
        colour = tab.value(f"getComputedStyle(document.querySelector({selector!r})).{name}")
        numbers: list[Any] = colour[4:-1].split(",")
        return sum(map(float, numbers)) / 3

    tab.open(file, dark=True)
    assert light("body", "backgroundColor") < 40
    assert light("section", "backgroundColor") < 50
    assert light(".plane .ticks text", "fill") > 120
    assert tab.said == []
    tab.open(file)
    assert light("body", "backgroundColor") > 230


def test_without_scripts_every_plot_is_there(tab: Page, file: Path) -> None:
    tab.open(file, scripts=False)
    tab.ask("Emulation.setScriptExecutionDisabled", value=False)  # to ask; the page's own were not run
    assert tab.value("document.querySelectorAll('.plane').length") == 0
    assert (
        tab.value("[...document.querySelectorAll('figure svg')].filter(e => e.getBoundingClientRect().width).length")
        == 7
    )
    assert tab.value("[...document.querySelectorAll('[data-chart]')].every(e => e.hidden)")
    tab.click("input.all")
    assert len(tab.value(SHOWN)) == 11


def test_what_comes_from_outside_stays_text(tab: Page, make: Make, tmp_path: Path) -> None:
    evil = "</script><script>window.got = 1</script><img src=x onerror='window.got = 2'>"
    values = make(rounds=2, classes=[evil, "b"], notes=[evil]).to_dict()
    values["method"] = values["data"]["name"] = values["data"]["floors"]["compressed_as"] = evil
    tab.open(write_report(RunResult.from_dict(values), tmp_path))
    assert tab.value("window.got") is None
    assert tab.value(LINES) == [evil]
    tab.mouse("mouseMoved", *tab.centre(".plane"))
    assert evil in tab.value(TIP)
    assert tab.value("window.got") is None
    assert tab.said == []
