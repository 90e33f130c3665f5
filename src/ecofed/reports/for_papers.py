"""The comparison's table as papers and spreadsheets want it."""

from __future__ import annotations

import csv
import io
import re

from ecofed.errors.foreign_text import clean
from ecofed.reports.tables import ABSENT, as_comparison, markdown, table_texts
from ecofed.results import Comparison, RunResult

#: Of TeX's special characters those that stand for themselves behind a backslash, and what the others are.
_TEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def latex(result: Comparison | RunResult) -> str:
    """A ``tabular`` with the rules of the package booktabs."""
    header, body, kinds = table_texts(result)
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", _row(header), r"\midrule"]
    for number, (cells, kind) in enumerate(zip(body, kinds, strict=True)):
        if kind == "floor" and number and kinds[number - 1] != "floor":
            lines.append(r"\midrule")
        lines.append(_row(cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def csv_table(result: Comparison | RunResult) -> str:
    """The methods' rows with numbers as they are: bytes, seconds, fractions. Empty: not known."""
    rows = as_comparison(result).rows()
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        seeds = " ".join(map(str, row["seeds"]))
        writer.writerow({**row, "label": clean(row["label"]), "method": clean(row["method"]), "seeds": seeds})
    return text.getvalue().removesuffix("\n")


#: By the name that ``ecofed report --table`` takes.
FORMATS = {"markdown": markdown, "latex": latex, "csv": csv_table}


def _row(cells: list[str]) -> str:
    return " & ".join("--" if cell == ABSENT else _escaped(cell) for cell in cells) + r" \\"


def _escaped(text: str) -> str:
    return re.sub(r"[\\&%$#_{}~^]", lambda found: _TEX[found[0]], text)
