"""What a page of the documentation asks its reader to do.

``sh`` and ``python`` blocks; in the Markdown source, just before one:

- ``<!-- not run: REASON -->`` leaves it out of the tests of the pages;
- ``<!-- file: NAME -->`` writes it to a file instead;
- ``<!-- setup ... -->`` is Python that runs without being shown, and has ``Path``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|file): (?P<word>[^\n]+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """``kind``: ``python``, ``sh`` or ``file``."""

    kind: str
    text: str
    line: int
    name: str = ""
    left_out: str = ""
    """Why the tests of the pages leave it out."""
    section: str = ""


def blocks(page: Path) -> Iterator[Block]:
    """From top to bottom."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        section = (["", *HEADING.findall(text, 0, match.start())])[-1]
        if match["setup"] is not None:
            yield Block("python", match["setup"], line, section=section)
        elif match["mark"] == "file":
            yield Block("file", match["text"], line, match["word"], section=section)
        elif match["language"] in ("python", "sh"):
            left_out = match["word"] if match["mark"] else ""
            yield Block(match["language"], match["text"], line, left_out=left_out, section=section)
