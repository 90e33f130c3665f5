"""Names from data and settings, made fit to be drawn."""

from __future__ import annotations


def short(name: str, limit: int) -> str:
    """At most ``limit`` characters, ending in an ellipsis where cut; what cannot be printed becomes ``?``."""
    printable = "".join(character if character.isprintable() else "?" for character in name)
    return printable if len(printable) <= limit else f"{printable[: limit - 1]}…"
