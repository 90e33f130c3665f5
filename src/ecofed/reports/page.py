"""The frame of a page that loads nothing from elsewhere: head, style and title."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from ecofed.errors.foreign_text import clean_lines
from ecofed.reports import live, theme

# Nothing in the page may load or run anything else, whatever a class name or a note contains.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def framed(
    *,
    title: str,
    kicker: str,
    lead: str,
    sections: Iterable[str],
    footer: str,
    scripts: str = "",
    allowed: str = "",
    renews: int | None = None,
) -> str:
    """The page as text.

    Args:
        title: of the page; escaped, as the next two are.
        kicker: above it.
        lead: below it.
        sections: HTML; empty ones are left out.
        footer: HTML.
        scripts: HTML after the page.
        allowed: the hash of the one script that may run; without it none does.
        renews: of what goes on, after how many seconds a browser loads the page again.
    """
    style = live.asset("report.css")
    style = style.replace("/*light*/", theme.css_variables(dark=False)).replace(
        "/*dark*/", theme.css_variables(dark=True)
    )
    policy = f"{_POLICY}; script-src '{allowed}'" if allowed else _POLICY
    going = f" · <b>goes on</b>: this page renews itself every {renews} seconds" if renews else ""
    page = "\n".join(
        [
            "<!doctype html>",
            "<html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            "<meta name='color-scheme' content='light dark'>",
            f"<meta http-equiv='refresh' content='{renews}'>" if renews else "",
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style></head><body><main>",
            "<header>",
            f"<p class='kicker'>{escape(kicker)}{going}</p>",
            f"<h1>{_unbroken(escape(title))}</h1>",
            f"<p class='lead'>{_unbroken(escape(lead))}</p>",
            "</header>",
            *(part for part in sections if part),
            f"<footer>{footer}</footer>",
            f"</main>{scripts}</body></html>\n",
        ]
    )
    return clean_lines(page)  # settings too: whatever is no letter of the page's own is shown, not obeyed


def _unbroken(text: str) -> str:
    """A method's name is not to be broken at its hyphen."""
    return re.sub(r"\b\w{1,16}(?:-\w{1,16}){1,2}\b", r"<span class='whole'>\g<0></span>", text)
