"""Test images with what each network said of them: a few, to look at. A page has them where that was asked for."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

#: A page stays one that can be sent by mail.
MOST_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one network said of an image."""

    label: str
    """The network's, as in the table: its method."""
    said: str
    """A class."""
    probability: float
    right: bool


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One test image and the answers."""

    png: bytes
    truth: str
    answers: list[Answer]


def gallery(shown: Sequence[Photograph]) -> str:
    """The images in the order in which they were drawn, each with its class and the answers."""
    if not shown:
        return ""
    note = (
        f"<p class='note'>The first {len(shown)} test images of a fixed shuffling, not chosen by what came out, with "
        "the class that each network names and how sure it is. This page holds these images: mind who gets it.</p>"
    )
    return f"{note}<ul class='gallery'>{''.join(map(_entry, shown))}</ul>"


def _entry(one: Photograph) -> str:
    source = base64.b64encode(one.png).decode()
    answers = "".join(
        f"<li class='{'right' if answer.right else 'wrong'}'>{'✓' if answer.right else '✗'} "
        f"{f'{escape(answer.label)}: ' if len(one.answers) > 1 else ''}{escape(answer.said)} "
        f"<small>{answer.probability:.2f}</small></li>"
        for answer in one.answers
    )
    alt = escape(f"a test image of class {one.truth}")
    return (
        f"<li><img src='data:image/png;base64,{source}' alt='{alt}'><b>{escape(one.truth)}</b><ul>{answers}</ul></li>"
    )
