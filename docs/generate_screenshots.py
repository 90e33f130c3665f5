"""Takes the pictures of reports and of the documentation itself: ``make screenshots RUN=runs/quickstart``.

Needs Chromium, and the documentation as ``make docs`` has built it. The pictures of a report are of a real run,
whichever is given; the page beside them says which it was.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "images"
SITE = ROOT / "build" / "site"

sys.path.insert(0, str(ROOT / "tests" / "reports"))
from browser import BROWSERS, Page, browsing, find_browser  # noqa: E402


def take(run: Path, pictures: Path = PICTURES) -> list[Path]:
    """Photograph ``report.html`` of a run: in the light with a value under the cursor, in the dark, on a telephone."""
    page = _existing(run / "report.html", f"'ecofed report {run}'")
    files = [pictures / f"report-{name}.png" for name in ("light", "dark", "phone")]
    with tempfile.TemporaryDirectory() as profile, browsing(Path(profile), _browser()) as tab:
        for file in files:
            dark, phone = "dark" in file.stem, "phone" in file.stem
            tab.open(page, width=400 if phone else 1200, height=800 if phone else 1290, dark=dark)
            chart = "frontier" if dark else "lines"
            point(tab, f"[data-chart={chart}] .plane", 0.72 if phone else 0.6, scroll=dark or phone)
            tab.screenshot(file)
    return files


def take_site(site: Path = SITE, pictures: Path = PICTURES) -> Path:
    """Photograph a page of the documentation site that has a drawing, with the contents beside it."""
    page = _existing(site / "explanation" / "pipelines.html", "'make docs'")
    file = pictures / "site.png"
    with tempfile.TemporaryDirectory() as profile, browsing(Path(profile), _browser()) as tab:
        tab.open(page, width=1200, height=820)
        tab.screenshot(file)
    return file


def _browser() -> str:
    browser = find_browser()
    if browser is None:
        raise SystemExit(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return browser


def _existing(page: Path, made_by: str) -> Path:
    if not page.is_file():
        raise SystemExit(f"{page}: no such file; {made_by} writes it")
    return page


def point(tab: Page, chart: str, across: float, *, scroll: bool) -> None:
    """Put the cursor onto a chart, scrolled into view where the page's top is not to be seen."""
    if scroll:
        tab.centre(chart)
    left, top, width, height = tab.value(
        f"(b => [b.x, b.y, b.width, b.height])(document.querySelector('{chart}').getBoundingClientRect())"
    )
    tab.mouse("mouseMoved", left + across * width, top + height / 2)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python docs/generate_screenshots.py RUN, such as runs/quickstart")
    for written in (*take(Path(sys.argv[1])), take_site()):
        print(written)
