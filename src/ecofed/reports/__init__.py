"""What people see of a result: files, tables, plots and a page.

>>> from ecofed.reports.html import write_report
>>> from ecofed.reports.joining import load
>>> from ecofed.reports.tables import plain_text
>>> result = load("runs/quickstart")            # a Comparison or a RunResult
>>> print(plain_text(result))
>>> write_report(result, "runs/quickstart")     # report.html and plots/*.png
"""
