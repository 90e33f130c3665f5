"""The versions of Flower that `ecofed.flower` is tested with (``make test-flower``: the oldest and the newest)."""

from __future__ import annotations

import re

OLDEST, NEWEST = (1, 41), (1, 42)
#: What pip is told.
PIN = "flwr>=1.41,<1.43"


def untested(version: str) -> str | None:
    """A line for whoever has a Flower that nobody has tried with this package; ``None`` for one that is tested."""
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if OLDEST <= numbers <= NEWEST:
        return None
    why = "from 1.43 on it speaks HTTP only" if numbers > NEWEST else "older than 1.41"
    return f"Flower {version} is not tested with this version of ecofed ({why}); if it fails: pip install '{PIN}'"
