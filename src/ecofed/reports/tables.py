"""The comparison's table: one row model, rendered for a terminal, as plain text, Markdown and HTML.

Below the methods stand the floors: what sending every picture once would have cost. A reader asks for them anyway.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from ecofed.config.facts import Facts
from ecofed.config.methods import OURS, REFERENCE, find_facts
from ecofed.errors.foreign_text import clean
from ecofed.reports.units import accuracy, fewer_or_more, human_bytes, human_seconds
from ecofed.results import Comparison, RunResult, Spread

if TYPE_CHECKING:
    from rich.table import Table

VERSUS = f"bytes vs {REFERENCE}"
#: SSIM of the strongest attack of an audit ('ecofed audit RUN'), where one was made.
LEAKAGE = "an attacker's SSIM"
COLUMNS = (
    "method",
    "final accuracy",
    "total bytes",
    VERSUS,
    "uplink",
    "downlink",
    "per device and round",
    "best accuracy",
    "labels leave device",
    LEAKAGE,
    "wall time",
    "simulated time",
)
#: What a page shows first; the other columns are one click away.
FIRST_SHOWN = ("method", "final accuracy", "total bytes", VERSUS, "labels leave device", LEAKAGE, "simulated time")
ABSENT = "-"
# What would be more than text in a cell of Markdown: a column, a link, a picture, HTML, code.
_MARKDOWN = re.compile(r"[\\|\[\]<>`*]")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method (means over its seeds), or one floor. ``None`` is printed as ``-``."""

    label: str
    total_bytes: float
    uplink_bytes: float
    downlink_bytes: float
    leaves_device: str
    """Whether labels leave the device: ``yes``, ``no``, or what else does."""
    method: str | None = None
    """``None`` for a floor."""
    seeds: int = 1
    runs: int = 1
    """More than seeds where runs of the same settings have the same seed."""
    final_accuracy: Spread | None = None
    best_accuracy: float | None = None
    bytes_per_device_round: float | None = None
    times_fewer: float | None = None
    """How many times as many bytes the reference moved."""
    leakage: float | None = None
    wall_seconds: float | None = None
    simulated_seconds: float | None = None

    @property
    def is_floor(self) -> bool:
        return self.method is None

    def cells(self) -> tuple[str, ...]:
        """The texts of :data:`COLUMNS`."""
        return (
            f"{self.label} ({self.runs} {'seeds' if self.runs == self.seeds else 'runs'})"
            if self.runs > 1
            else self.label,
            _spread(self.final_accuracy),
            human_bytes(self.total_bytes),
            self._against_classic(),
            human_bytes(self.uplink_bytes),
            human_bytes(self.downlink_bytes),
            ABSENT if self.bytes_per_device_round is None else human_bytes(self.bytes_per_device_round),
            ABSENT if self.best_accuracy is None else accuracy(self.best_accuracy),
            self.leaves_device,
            ABSENT if self.leakage is None else f"{self.leakage:.2f}",
            ABSENT if self.wall_seconds is None else human_seconds(self.wall_seconds),
            ABSENT if self.simulated_seconds is None else human_seconds(self.simulated_seconds),
        )

    def numbers(self) -> tuple[float | str | None, ...]:
        """What :meth:`cells` says, to sort by."""
        return (
            self.label,
            self.final_accuracy.mean if self.final_accuracy else None,
            self.total_bytes,
            None if self.times_fewer is None else -self.times_fewer,
            self.uplink_bytes,
            self.downlink_bytes,
            self.bytes_per_device_round,
            self.best_accuracy,
            self.leaves_device,
            self.leakage,
            self.wall_seconds,
            self.simulated_seconds,
        )

    def _against_classic(self) -> str:
        if self.times_fewer is None:
            return ABSENT
        return "1x" if self.method == REFERENCE and self.times_fewer == 1 else fewer_or_more(self.times_fewer)


def rows(result: Comparison | RunResult) -> list[Row]:
    """The methods in order of appearance, then the floors."""
    comparison = as_comparison(result)
    table = [
        Row(
            label=row["label"],
            method=row["method"],
            seeds=len(set(row["seeds"])),
            runs=len(row["seeds"]),
            final_accuracy=Spread(
                mean=row["final_test_accuracy"],
                low=row["final_test_accuracy_low"],
                high=row["final_test_accuracy_high"],
            ),
            best_accuracy=row["best_test_accuracy"],
            uplink_bytes=row["uplink_bytes"],
            downlink_bytes=row["downlink_bytes"],
            total_bytes=row["total_bytes"],
            bytes_per_device_round=row["bytes_per_device_round"],
            times_fewer=row["times_fewer_bytes_than_classic_fl"],
            leaves_device="images too"
            if (find_facts(row["method"]) or Facts).images_leave_device
            else "yes"
            if row["labels_leave_device"]
            else "no",
            leakage=row["leakage_ssim"],
            wall_seconds=row["wall_seconds"],
            simulated_seconds=row["simulated_seconds"],
        )
        for row in comparison.rows()
    ]
    classic = next((row.total_bytes for row in table if row.method == REFERENCE), None)
    return table + [
        Row(
            label=label,
            uplink_bytes=size,
            downlink_bytes=0,
            total_bytes=size,
            times_fewer=classic / size if classic and size else None,
            leaves_device="images too",
        )
        for label, size in floors(comparison)
    ]


def floors(result: Comparison | RunResult) -> list[tuple[str, int]]:
    """``(label, bytes)`` of sending every image of every device once: raw, and compressed where that is known."""
    sizes = as_comparison(result).results[0].data.floors
    table = [("every image once (raw)", sizes.raw_bytes)] if sizes.raw_bytes else []
    if sizes.compressed_bytes is not None:
        table.append((f"every image once ({sizes.compressed_as or 'compressed'})", sizes.compressed_bytes))
    table += [(f"every image once (JPEG, {clean(what)})", count) for what, count in sizes.jpeg_bytes.items()]
    return table


def as_comparison(result: Comparison | RunResult) -> Comparison:
    """A run as a comparison of one."""
    return result if isinstance(result, Comparison) else Comparison(results=[result], command=result.command)


def rich_table(result: Comparison | RunResult) -> Table:
    """For a terminal."""
    from rich.table import Table
    from rich.text import Text

    header, body, kinds = table_texts(result)
    table = Table(header_style="bold", row_styles=None)
    for index, name in enumerate(header):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold")
    for index, (cells, kind) in enumerate(zip(body, kinds, strict=True)):
        # Text, not str: a label must not be read as rich's markup.
        table.add_row(
            *(Text(cell) for cell in cells),
            style={"floor": "dim", "hero": "bold"}.get(kind),
            end_section=index == len(body) - kinds.count("floor") - 1,
        )
    return table


def plain_text(result: Comparison | RunResult) -> str:
    """Aligned columns, for logs and files."""
    header, body, kinds = table_texts(result)
    widths = [max(len(row[index]) for row in (header, *body)) for index in range(len(header))]
    rule = "  ".join("-" * width for width in widths)
    lines = [_aligned(header, widths), rule, *(_aligned(row, widths) for row in body)]
    lines.insert(len(lines) - kinds.count("floor"), rule)
    return "\n".join(lines)


def markdown(result: Comparison | RunResult) -> str:
    """A GitHub table."""
    header, body, _ = table_texts(result)
    table = [header, ["---", *("---:" for _ in header[1:])], *body]
    return "\n".join("| " + " | ".join(_markdown_cell(cell) for cell in row) + " |" for row in table)


def html_table(result: Comparison | RunResult) -> str:
    """A ``<table>`` with every text escaped, what is read first on its left. Rows have the class ``hero``, ``method``
    or ``floor``, the later columns ``more``; cells carry the number behind their text as ``data-sort``."""
    header, body, kinds = table_texts(result)
    order = sorted(range(len(header)), key=lambda at: (header[at] not in FIRST_SHOWN, at))
    more = {at: " class='more'" * (header[at] not in FIRST_SHOWN) for at in order}
    lines = ["<table class='results'>", "<thead><tr>"]
    lines += [f"<th scope='col'{more[at]}>{escape(header[at])}</th>" for at in order]
    lines.append("</tr></thead><tbody>")
    for row, cells, kind in zip(rows(result), body, kinds, strict=True):
        values = dict(zip(COLUMNS, row.numbers(), strict=True))
        keys = {at: "" if values[header[at]] is None else escape(str(values[header[at]])) for at in order}
        texts = "".join(f"<td{more[at]} data-sort='{keys[at]}'>{escape(cells[at])}</td>" for at in order[1:])
        lines.append(f"<tr class='{kind}'><th scope='row' data-sort='{keys[0]}'>{escape(cells[0])}</th>{texts}</tr>")
    lines.append("</tbody></table>")
    return "\n".join(lines)


def table_texts(result: Comparison | RunResult) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, body without the columns that nobody has, and what each row is: ``hero``, ``method``, or ``floor``."""
    table = rows(result)
    body = [row.cells() for row in table]
    keep = [index for index in range(len(COLUMNS)) if any(cells[index] != ABSENT for cells in body)]
    # The ratio stays, as "-": its absence says that the reference was not run.
    keep = sorted({*keep, COLUMNS.index(VERSUS)})
    picked = [[cells[index] for index in keep] for cells in body]
    kinds = ["floor" if row.is_floor else "hero" if row.method == OURS else "method" for row in table]
    return [COLUMNS[index] for index in keep], picked, kinds


def _spread(value: Spread | None) -> str:
    if value is None:
        return ABSENT
    if value.low == value.high:
        return accuracy(value.mean)
    return f"{accuracy(value.mean)} ({accuracy(value.low)}-{accuracy(value.high)})"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    texts = [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]
    return "  ".join(texts).rstrip()


def _markdown_cell(text: str) -> str:
    return text if set(text) == {"-"} or text == "---:" else _MARKDOWN.sub(r"\\\g<0>", text)
