"""Parts of the page that are text and tables: what was counted, fronts, where a run came from, how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from ecofed.files.disk import json_text
from ecofed.reports import theme, words
from ecofed.reports.plots.kinds import ledger_kinds, ledger_mean
from ecofed.reports.units import human_bytes
from ecofed.results import Comparison, RunGroup, RunResult

#: What of a front's card is read without unfolding it.
_OF_A_CARD = ("origin", "images", "licence", "id")


def section(title: str, body: str, kind: str = "") -> str:
    """A section with its heading, which the table of contents can name."""
    return f"<section class='{kind}' id='{anchor(title)}'><h2>{escape(title)}</h2>{body}</section>"


def titled(title: str, body: str) -> str:
    """A section, or nothing where there is nothing to say."""
    return section(title, body) if body else ""


def anchor(title: str) -> str:
    """The name of a section in an address. Titles are this package's own."""
    return title.lower().replace(" ", "-")


def scroll(body: str) -> str:
    """What may be wider than the page, and can be scrolled by keyboard, too."""
    return f"<div class='scroll' tabindex='0'>{body}</div>"


def ledger(comparison: Comparison) -> str:
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
    return "<p class='note'>Every byte that crossed between devices and server, as encoded: ↑ up, ↓ down.</p>" + scroll(
        f"<table class='ledger'>{head}<tbody>{body}</tbody></table>"
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


def fronts(comparison: Comparison) -> str:
    users: dict[str, list[RunResult]] = {}
    for run in comparison.results:
        if run.front:
            users.setdefault(json_text(run.front, sort_keys=True, default=str), []).append(run)
    tables = []
    for runs in users.values():
        methods = ", ".join(dict.fromkeys(run.method for run in runs))
        title = f"the front of {methods}" if len(users) > 1 else "its card"
        known = runs[0].front or {}
        told = " · ".join(f"{key.replace('_', ' ')}: {_plain(known[key])}" for key in _OF_A_CARD if key in known)
        card = f"<details><summary>{escape(title)}</summary>{pairs(known)}</details>"
        tables.append(f"<p>{escape(told)}</p>" * bool(told) + card)
    return section("The front", "".join(tables)) if tables else ""


def origins(comparison: Comparison) -> str:
    """Of runs that learned from what another one kept."""
    groups = [(group.label, group.results[0].origin) for group in comparison.groups()]
    tables = [f"<h3>{escape(label)}</h3>{pairs(origin)}" for label, origin in groups if origin]
    return section("Learned again from a kept buffer", "".join(tables)) if tables else ""


def pairs(values: Mapping[str, Any]) -> str:
    lines = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(_plain(value))}</dd>" for key, value in values.items())
    return f"<dl>{lines}</dl>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value, default=str, ascii_only=False)


def reproduction(comparison: Comparison) -> str:
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
            + scroll(f"<table><thead><tr><th scope='col'>setting</th>{head}</tr></thead><tbody>{body}</tbody></table>")
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
        f"{pairs(facts)}<p class='note'>{_how_again(run.command)}</p>"
        f"<pre>{escape(toml(run.config))}</pre></details>"
    )


def _how_again(command: str) -> str:
    if not command.startswith("flwr run"):
        return "Save this as a .toml file and give it to 'ecofed run'."
    return (
        "Save this as a .toml file on the server and name it as <code>preset</code> to train with the fleet again; "
        "'ecofed run' of it simulates devices that share the server's data set."
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
