"""``report.html``: one file that explains a run or a comparison to a stranger, with nothing to load from elsewhere.

It is whole without scripts; where they run, charts answer to the pointer and tables sort.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ecofed.files.disk import write_text
from ecofed.reports import live, words
from ecofed.reports.headline import headline, labels_sentence
from ecofed.reports.page import framed
from ecofed.reports.photographs import Photograph, gallery
from ecofed.reports.plots import Plot, draw_plots, save_plots
from ecofed.reports.sections import fronts, ledger, origins, reproduction, scroll, section, titled
from ecofed.reports.tables import as_comparison, html_table
from ecofed.reports.trained import trained_networks
from ecofed.results import Comparison, RunResult

REPORT_FILE = "report.html"

#: How to read each plot, one sentence.
CAPTIONS = {
    "accuracy-bytes": "Further left is cheaper, higher is better: each line follows one method from its first round "
    "to its last evaluation, whose accuracy its label gives. The dotted marks are "
    "what sending every image once would cost, in its raw and its compressed form.",
    "accuracy-rounds": "The same evaluations by round: how fast each method learns when bytes are left out of account.",
    "accuracy-time": "The same evaluations by the simulated clock of the device and link profiles.",
    "frontier": "Further left is cheaper, higher is better: final accuracy against what one device sent and received "
    "in all, the mean over devices. The steps join the frontier: points that no other one beats with fewer bytes. "
    "Dotted: sending all images of a device once.",
    "round-timeline": "What the server and the first devices do in round 1, all methods on one time axis; a round of "
    "which little would be seen is drawn again, stretched. The upper bar of a row is computing, the lower one sending "
    "and receiving.",
    "bytes-by-kind": "Left: bytes of the whole run on one scale, so that lengths compare; right: the same bars "
    "stretched to 100 %, so that the small ones show what they consist of.",
    "label-partition": "Each column is a device, each row a class, and the stronger the colour the more samples; the "
    "strip on top is each device's total. Few filled rows in a column mean skewed data.",
}
#: Plots that an interactive chart stands for, where scripts run.
_REPLACED = {
    **dict.fromkeys(("accuracy-bytes", "accuracy-rounds", "accuracy-time"), "lines"),
    "frontier": "frontier",
    "round-timeline": "timelines",
}
#: Above which plots those charts stand.
_HOSTS = ("accuracy-bytes", "frontier", "round-timeline")


def write_report(
    result: Comparison | RunResult,
    folder: str | Path,
    *,
    papers: Sequence[str] = (),
    shown: Sequence[Photograph] = (),
) -> Path:
    """Write ``report.html`` and the plots as ``plots/NAME.png`` into a folder. Returns the page's path.

    Args:
        result: what to show.
        folder: is made.
        papers: formats that the plots are written in besides: ``svg``, ``pdf``.
        shown: test images with the networks' answers, which then are in the page.

    Raises:
        MissingExtraError: matplotlib is not installed.
        EcoFedError: the folder cannot be written.
    """
    plots = draw_plots(result, papers)
    save_plots(plots, folder)
    return write_text(Path(folder) / REPORT_FILE, report_html(result, plots, shown=shown))


def report_html(
    result: Comparison | RunResult,
    plots: list[Plot],
    *,
    renews: int | None = None,
    shown: Sequence[Photograph] = (),
) -> str:
    """The page as text: every string of the result escaped, styles, plots and script inside.

    ``renews``: the page loads itself again after so many seconds, because its runs go on.
    """
    comparison = as_comparison(result)
    first = comparison.results[0]
    title = headline(comparison)
    sections = [
        part
        for part in (
            _warnings(comparison),
            *(_plot(plot) for plot in plots if plot.name == "accuracy-bytes"),
            _table(comparison),
            *(_plot(plot) for plot in plots if plot.name not in ("accuracy-bytes", "label-partition")),
            titled("The trained network", trained_networks(comparison)),
            titled("Photographs", gallery(shown)),
            section("What was counted", ledger(comparison)),
            _data(comparison, plots),
            fronts(comparison),
            origins(comparison),
            section("Reproduce this", reproduction(comparison)),
        )
        if part
    ]
    return framed(
        title=title,
        kicker=f"EcoFed report · {first.data.name} · {_model(first)}",
        lead=f"{words.floor_sentence(comparison)} {labels_sentence(comparison)}",
        sections=[_figures(comparison), _contents(sections), *sections],
        footer=f"ecofed {escape(first.ecofed_version)} · accuracies are fractions of the test images · "
        "1 MB is 10<sup>6</sup> bytes",
        scripts=live.scripts(comparison),
        allowed=live.script_hash(),
        renews=renews,
    )


def _contents(sections: list[str]) -> str:
    """The table of contents: a link a section."""
    found = [re.match(r"<section class='([^']*)' id='([^']*)'><h2>(.*?)</h2>", one) for one in sections]
    links = "".join(f"<li class='{one[1]}'><a href='#{one[2]}'>{one[3]}</a></li>" for one in found if one)
    return f"<nav aria-label='Contents'><ul>{links}</ul></nav>"


def _figures(comparison: Comparison) -> str:
    cards = "".join(
        f"<li{' class=plain' * card.plain}><b>{escape(card.value)}</b><span>{escape(card.name)}</span>"
        f"<small>{escape(card.detail)}</small></li>"
        for card in words.key_figures(comparison)
    )
    return f"<ul class='cards'>{cards}</ul>"


def _warnings(comparison: Comparison) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in words.warnings(comparison))
    return section("Worth knowing", f"<ul>{lines}</ul>", "warning") if lines else ""


def _table(comparison: Comparison) -> str:
    """The table: few columns, and a box to tick for the others."""
    legend = (
        f"<p class='note'>Final accuracy is {words.final_accuracy(comparison)}; with several seeds, their mean, and "
        "the lowest and highest in brackets. The rows in italics are floors: the cost of sending every image once.</p>"
    )
    more = "<label class='all'><input type='checkbox' class='all'> all columns</label>"
    table = html_table(comparison).replace("class='results'", "class='results sortable'", 1)
    title = "All methods" if len(comparison.groups()) > 1 else "The run"
    return section(title, f"{more}{scroll(table)}{legend}")


def _plot(plot: Plot) -> str:
    """A plot, with the place of the chart that is drawn in its stead where scripts run."""
    chart = _REPLACED.get(plot.name)
    if plot.name in _HOSTS:
        title = "Accuracy" if chart == "lines" else plot.title
        return section(title, f"<div data-chart='{chart}' hidden></div>{_drawing(plot)}")
    return section(plot.title, _drawing(plot), f"static-{chart}" if chart else "")


def _drawing(plot: Plot) -> str:
    caption = CAPTIONS[plot.name]
    svg = plot.svg.replace("<svg", f"<svg role='img' aria-label='{escape(plot.title)}'", 1)
    kind = f" class='static-{_REPLACED[plot.name]}'" if plot.name in _REPLACED else ""
    return f"<figure{kind}>{scroll(svg)}<figcaption>{escape(caption)}</figcaption></figure>"


def _data(comparison: Comparison, plots: list[Plot]) -> str:
    drawing = "".join(_drawing(plot) for plot in plots if plot.name == "label-partition")
    return section(
        "Who holds which labels", f"<p>{escape(words.partition_sentence(comparison.results[0]))}</p>{drawing}"
    )


def _model(result: RunResult) -> str:
    model = result.config.get("model", {})
    width = model.get("width", 1)
    rounds = len(result.rounds)
    size = "" if width == 1 else f" at {width:g}x width"
    return f"{model.get('name', 'model')}{size} · {rounds} round{'s' if rounds != 1 else ''}"
