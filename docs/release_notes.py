"""Prints what CHANGELOG.md says of a version: the notes of its tag (``make release-notes``).

python docs/release_notes.py [VERSION]      by default the version that the package has
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def version() -> str:
    """That of the package, which need not be installed."""
    text = (ROOT / "src" / "ecofed" / "_version.py").read_text(encoding="utf-8")
    return text.split('"')[-2]


def notes(changelog: str, wanted: str) -> str:
    """The part of a changelog under the heading of a version.

    Raises:
        LookupError: there is none, or nothing under it.
    """
    parts = re.split(r"^## \[(.+?)\].*\n", changelog, flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True)).get(wanted, "").strip()
    if not found:
        raise LookupError(f"CHANGELOG.md says nothing of [{wanted}]: give what is under [Unreleased] that heading")
    return found


if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) > 1 else version()
    try:
        print(f"EcoFed {asked}\n\n{notes((ROOT / 'CHANGELOG.md').read_text(encoding='utf-8'), asked)}")
    except LookupError as error:
        raise SystemExit(f"error: {error}") from None
