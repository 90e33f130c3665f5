"""``report.html``: one file that explains a run or a comparison to a stranger, with nothing to load from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from ecofed.errors.foreign_text import clean_lines
from ecofed.files.disk import json_text, write_text
from ecofed.reports import theme, words
from ecofed.reports.plots import Plot, draw_plots, save_plots
from ecofed.reports.plots.kinds import ledger_kinds, ledger_mean
from ecofed.reports.tables import as_comparison, html_table
from ecofed.reports.trained import trained_networks
from ecofed.reports.units import human_bytes
from ecofed.results import Comparison, RunGroup, RunResult

REPORT_FILE = "report.html"

#: How to read each plot, one sentence.
CAPTIONS = {
    "accuracy-bytes": "Further left is cheaper, higher is better: each line follows one method from its first round "
    "to its last, and its label gives the final accuracy, the mean of the last five evaluations. The dotted marks are "
    "what sending every image once would cost, in its raw and its compressed form.",
    "accuracy-rounds": "The same evaluations by round: how fast each method learns when bytes are left out of account.",
    "accuracy-time": "The same evaluations by the simulated clock of the device and link profiles.",
    "round-timeline": "What the server and the first devices do in round 1, each method on a time axis of its own: the "
    "upper bar of a row is computing, the lower one sending and receiving.",
    "bytes-by-kind": "Left: bytes of the whole run on one scale, so that lengths compare; right: the same bars "
    "stretched to 100 %, so that the small ones show what they consist of.",
    "label-partition": "Each column is a device, each row a class, and the stronger the colour the more samples; the "
    "strip on top is each device's total. Few filled rows in a column mean skewed data.",
}

# Nothing in the page may load or run anything, whatever a class name or a note contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_report(result: Comparison | RunResult, folder: str | Path) -> Path:
    """Write ``report.html`` and the plots as ``plots/NAME.png`` into a folder. Returns the page's path.

    Raises:
        MissingExtraError: matplotlib is not installed.
        EcoFedError: the folder cannot be written.
    """
    plots = draw_plots(result)
    save_plots(plots, folder)
    return write_text(Path(folder) / REPORT_FILE, report_html(result, plots))


def report_html(result: Comparison | RunResult, plots: list[Plot]) -> str:
    """The page as text: every string of the result escaped, styles and plots inside."""
    comparison = as_comparison(result)
    first = comparison.results[0]
    title = words.headline(comparison)
    style = resources.files("ecofed.reports").joinpath("report.css").read_text(encoding="utf-8")
    style = style.replace("/*light*/", theme.css_variables(dark=False)).replace(
        "/*dark*/", theme.css_variables(dark=True)
    )
    sections = [
        _figures(comparison),
        _warnings(comparison),
        *(_plot(plot) for plot in plots if plot.name == "accuracy-bytes"),
        _section(
            "All methods" if len(comparison.groups()) > 1 else "The run",
            _scroll(html_table(comparison)) + _legend(comparison),
        ),
        *(_plot(plot) for plot in plots if plot.name not in ("accuracy-bytes", "label-partition")),
        _titled("The trained network", trained_networks(comparison)),
        _section("What was counted", _ledger(comparison)),
        _data(comparison, plots),
        _fronts(comparison),
        _origins(comparison),
        _section("Reproduce this", _reproduction(comparison)),
    ]
    page = "\n".join(
        [
            "<!doctype html>",
            "<html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            "<meta name='color-scheme' content='light dark'>",
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style></head><body><main>",
            "<header>",
            f"<p class='kicker'>EcoFed report · {escape(first.data.name)} · {escape(_model(first))}</p>",
            f"<h1>{escape(title)}</h1>",
            f"<p class='lead'>{escape(words.floor_sentence(comparison))}</p>",
            "</header>",
            *(section for section in sections if section),
            f"<footer>ecofed {escape(first.ecofed_version)} · accuracies are fractions of the test images · "
            "1 MB is 10<sup>6</sup> bytes</footer>",
            "</main></body></html>\n",
        ]
    )
    return clean_lines(page)  # settings too: whatever is no letter of the page's own is shown, not obeyed


def _section(title: str, body: str, kind: str = "") -> str:
    return f"<section class='{kind}'><h2>{escape(title)}</h2>{body}</section>"


def _titled(title: str, body: str) -> str:
    """A section, or nothing where there is nothing to say."""
    return _section(title, body) if body else ""


def _scroll(body: str) -> str:
    return f"<div class='scroll' tabindex='0'>{body}</div>"


def _figures(comparison: Comparison) -> str:
    cards = "".join(
        f"<li><b>{escape(card.value)}</b><span>{escape(card.name)}</span><small>{escape(card.detail)}</small></li>"
        for card in words.key_figures(comparison)
    )
    return f"<ul class='cards'>{cards}</ul>"


def _warnings(comparison: Comparison) -> str:
    lines = "".join(f"<li>{escape(line)}</li>" for line in words.warnings(comparison))
    return _section("Worth knowing", f"<ul>{lines}</ul>", "warning") if lines else ""


def _legend(comparison: Comparison) -> str:
    return (
        f"<p class='note'>Final accuracy is {words.final_accuracy(comparison)}; with several seeds, their mean, and "
        "the lowest and highest in brackets. The last rows are floors: the cost of sending every image once.</p>"
    )


def _plot(plot: Plot) -> str:
    return _section(plot.title, _drawing(plot))


def _drawing(plot: Plot) -> str:
    caption = CAPTIONS[plot.name]
    svg = plot.svg.replace("<svg", f"<svg role='img' aria-label='{escape(plot.title)}'", 1)
    return f"<figure><div class='scroll' tabindex='0'>{svg}</div><figcaption>{escape(caption)}</figcaption></figure>"


def _ledger(comparison: Comparison) -> str:
    groups = comparison.groups()
    head = "".join(f"<th scope='col'>{escape(group.label)}</th>" for group in groups)
    body = ""
    for kind in ledger_kinds(comparison):
        cells = "".join(f"<td>{_up_down(*_moved(group, kind))}</td>" for group in groups)
        meaning = escape(theme.KIND_MEANINGS.get(kind, ""))
        body += f"<tr><th scope='row'>{escape(kind)}<small>{meaning}</small></th>{cells}</tr>"
    if any(sum(result.retransmitted_bytes.values()) for result in comparison.results):
        cells = "".join(f"<td>{_up_down(*_resent(group))}</td>" for group in groups)
        body += (
            f"<tr class='floor'><th scope='row'>sent again<small>retransmissions, in no total</small></th>{cells}</tr>"
        )
    head = f"<thead><tr><th scope='col'>kind</th>{head}</tr></thead>"
    return (
        "<p class='note'>Every byte that crossed between devices and server, as encoded: ↑ up, ↓ down.</p>"
        + _scroll(f"<table class='ledger'>{head}<tbody>{body}</tbody></table>")
    )


def _moved(group: RunGroup, kind: str) -> tuple[float, float]:
    return ledger_mean(group, "uplink").get(kind, 0), ledger_mean(group, "downlink").get(kind, 0)


def _resent(group: RunGroup) -> tuple[float, float]:
    return (
        group.spread(lambda result: result.retransmitted_bytes.get("uplink", 0)).mean,
        group.spread(lambda result: result.retransmitted_bytes.get("downlink", 0)).mean,
    )


def _up_down(up: float, down: float) -> str:
    lines = [f"{arrow} {human_bytes(size)}" for arrow, size in (("↑", up), ("↓", down)) if size]
    return "<br>".join(lines) or "-"


def _data(comparison: Comparison, plots: list[Plot]) -> str:
    drawing = "".join(_drawing(plot) for plot in plots if plot.name == "label-partition")
    return _section(
        "Who holds which labels", f"<p>{escape(words.partition_sentence(comparison.results[0]))}</p>{drawing}"
    )


def _fronts(comparison: Comparison) -> str:
    users: dict[str, list[RunResult]] = {}
    for run in comparison.results:
        if run.front:
            users.setdefault(json_text(run.front, sort_keys=True, default=str), []).append(run)
    tables = []
    for runs in users.values():
        methods = ", ".join(dict.fromkeys(run.method for run in runs))
        tables.append(f"<h3>{escape(methods)}</h3>" * (len(users) > 1) + _pairs(runs[0].front or {}))
    return _section("The front", "".join(tables)) if tables else ""


def _origins(comparison: Comparison) -> str:
    """Of runs that learned from what another one kept."""
    groups = [(group.label, group.results[0].origin) for group in comparison.groups()]
    tables = [f"<h3>{escape(label)}</h3>{_pairs(origin)}" for label, origin in groups if origin]
    return _section("Learned again from a kept buffer", "".join(tables)) if tables else ""


def _pairs(values: Mapping[str, Any]) -> str:
    lines = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(_plain(value))}</dd>" for key, value in values.items())
    return f"<dl>{lines}</dl>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value, default=str, ascii_only=False)


def _reproduction(comparison: Comparison) -> str:
    groups = comparison.groups()
    parts = [f"<pre>{escape(comparison.command or comparison.results[0].command)}</pre>"]
    if differing := words.differing_settings(comparison):
        head = "".join(f"<th scope='col'>{escape(group.label)}</th>" for group in groups)
        body = "".join(
            f"<tr><th scope='row'>{escape(key)}</th>{''.join(f'<td>{escape(value)}</td>' for value in values)}</tr>"
            for key, values in differing
        )
        parts.append(
            "<h3>Settings that differ</h3>"
            + _scroll(f"<table><thead><tr><th scope='col'>setting</th>{head}</tr></thead><tbody>{body}</tbody></table>")
        )
    parts += [_run_details(group) for group in groups]
    return "".join(parts)


def _run_details(group: RunGroup) -> str:
    run = group.results[0]
    seeds = ", ".join(str(result.seed) for result in group.results)
    facts = {
        "command": run.command,
        "seed" if len(group.results) == 1 else "seeds": seeds,
        "commit": run.git_commit or "unknown",
        "ecofed": run.ecofed_version,
        **run.environment,
    }
    return (
        f"<details><summary>{escape(group.label)}: complete configuration, environment and commit</summary>"
        f"{_pairs(facts)}<p class='note'>Save this as a .toml file and give it to 'ecofed run'.</p>"
        f"<pre>{escape(toml(run.config))}</pre></details>"
    )


def toml(values: Mapping[str, Any]) -> str:
    """A configuration as TOML that ``ecofed run FILE.toml`` reads; settings without a value are left out."""
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, Mapping)}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for name, section in values.items():
        if isinstance(section, Mapping) and any(value is not None for value in section.values()):
            lines += ["", f"[{_toml_key(name)}]", toml(section)]
    return "\n".join(lines)


def _toml_key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _toml_value(key)


def _toml_value(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's.
    return json_text(value, ascii_only=False, default=str)


def _model(result: RunResult) -> str:
    model = result.config.get("model", {})
    width = model.get("width", 1)
    rounds = len(result.rounds)
    size = "" if width == 1 else f" at {width:g}x width"
    return f"{model.get('name', 'model')}{size} · {rounds} rounds"
