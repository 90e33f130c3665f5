"""Names from data and settings, made fit to be drawn."""

from __future__ import annotations


def short(name: str, limit: int) -> str:
    """At most ``limit`` characters, an ellipsis where cut; what cannot be printed becomes ``?``.

    A name of settings (``ecofed bits=2 views=1``) is cut in its middle: what tells it from others stands at its end.
    """
    printable = "".join(character if character.isprintable() else "?" for character in name)
    if len(printable) <= limit:
        return printable
    kept = min(12, limit // 3) if "=" in printable else limit - 1
    return f"{printable[:kept]}…{printable[len(printable) - (limit - 1 - kept) :]}"
