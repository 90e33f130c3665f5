"""What people see of a result: files, tables, plots and a page.

>>> from ecofed.reports import load, plain_text, write_report
>>> result = load("runs/quickstart")            # a Comparison or a RunResult
>>> print(plain_text(result))
>>> write_report(result, "runs/quickstart")     # report.html and plots/*.png
"""

from __future__ import annotations

from ecofed.files.disk import write_json
from ecofed.reports.files import read_result, read_summary, write_result, write_summary
from ecofed.reports.html import write_report
from ecofed.reports.joining import changed_inputs, joined, load
from ecofed.reports.notebook import notebook_html
from ecofed.reports.plots import write_plots
from ecofed.reports.tables import html_table, markdown, plain_text, rich_table
from ecofed.reports.units import human_bytes, human_seconds
from ecofed.reports.words import headline, warnings

__all__ = [
    "changed_inputs",
    "headline",
    "html_table",
    "human_bytes",
    "human_seconds",
    "joined",
    "load",
    "markdown",
    "notebook_html",
    "plain_text",
    "read_result",
    "read_summary",
    "rich_table",
    "warnings",
    "write_json",
    "write_plots",
    "write_report",
    "write_result",
    "write_summary",
]
