"""Text that came from elsewhere (the wire, a file, an archive, the hub), made fit to be shown.

A device's reason, a class name or a front's card may hold whatever its author liked: sequences that clear a terminal,
marks that turn the reading direction, a megabyte of one letter. What is shown is one line of printable characters; the
others stand there as escapes (``\\x1b``), so that nothing hides. What is kept (class names in a network) is unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

#: A sentence: a note, an error. What to do about it stands at its end, so the middle goes where it is too long.
LONGEST = 2000
#: A name: of a class, a data set, a setting.
LONGEST_NAME = 200

# Printable, says Unicode, and yet nothing is to be seen of them.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
# More accents than this on one letter reach into the lines above and below.
_MARKS = re.compile(r"([\u0300-\u036f\u0483-\u0489\u20d0-\u20ff]{4})[\u0300-\u036f\u0483-\u0489\u20d0-\u20ff]+")


def clean(text: object, longest: int = LONGEST) -> str:
    """One line of printable characters, at most ``longest``; cleaning twice changes nothing more."""
    words = str(text)
    if len(words) > longest:
        words = _shortened(words, longest)
    if words.isascii() and words.isprintable():
        return words
    shown = _MARKS.sub(r"\1", "".join(map(_shown, words)))
    return _shortened(shown, longest) if len(shown) > longest else shown


def clean_lines(text: str) -> str:
    """As :func:`clean`, of a text that has lines of its own and may be long: a table, a page."""
    return "\n".join(
        line if line.isascii() and line.isprintable() else "".join(map(_shown, line)) for line in text.split("\n")
    )


def cleaned(value: Any, longest: int = LONGEST) -> Any:
    """A JSON value with every text in it cleaned, keys too."""
    if isinstance(value, str):
        return clean(value, longest)
    if isinstance(value, Mapping):
        return {clean(key, LONGEST_NAME): cleaned(item, longest) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(item, longest) for item in value]
    return value


def json_escaped(text: str) -> str:
    """JSON text with its unprintable characters as JSON's own escapes: the same values, safe to show."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(
        character if character == "\n" or _is_plain(character) else _json_escape(character) for character in text
    )


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _is_plain(character: str) -> bool:
    return character.isprintable() and character not in _INVISIBLE


def _shown(character: str) -> str:
    if _is_plain(character):
        return character
    if character.isspace():  # line ends, tabs, wide and unbreakable spaces
        return " "
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shortened(text: str, longest: int) -> str:
    tail = longest // 3
    return f"{text[: longest - tail - 5]} ... {text[len(text) - tail :]}"
