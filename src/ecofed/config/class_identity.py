"""Which class is which, where classes come from two places: splits, shards, devices, a network and the data it meets.

A class is its name, in Unicode's composed form (NFC) and without what surrounds it. Case counts: ``Cat`` is not
``cat``. A class without a name is its original number, written out: 3 is ``3``. Where a class stands in a list says
nothing. What cannot be matched is refused, with both lists.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ecofed.errors import DataError, nearest

if TYPE_CHECKING:
    import numpy as np

#: Of a list in a message, so that two of them fit into one.
MOST_LISTED = 40
MOST_LETTERS = 800
#: Of a class's name, which travels with every network and to every device.
LONGEST_NAME = 1000
#: What fixed-width columns (NUL) and editors (the byte order mark) leave around a name, besides white space.
_AROUND = "\0\ufeff"


def identity(name: str) -> str:
    """What makes a class the same as another one. Applying it twice changes nothing more."""
    composed = unicodedata.normalize("NFC", name)
    while (trimmed := composed.strip().strip(_AROUND)) != composed:
        composed = trimmed
    return composed


def settled(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The identities of the classes that one place lists, in its order.

    Args:
        names: as the place writes them.
        where: the place, for the error.

    Raises:
        DataError: a name is empty or absurdly long, or two are the same class.
    """
    first: dict[str, str] = {}
    for name in names:
        own = identity(name)
        if not own:
            raise DataError(f"{where}: a class has no name ({name!a})")
        if len(own) > LONGEST_NAME:
            raise DataError(
                f"{where}: a class's name has {len(own):,} letters, more than {LONGEST_NAME:,}: {own[:50]}..."
            )
        if own in first:
            # In ASCII: what differs is what a reader would not see.
            raise DataError(
                f"{where}: the classes {first[own]!a} and {name!a} have the same name once letters are composed and "
                "spaces around it are left out; make them one, or give them different names"
            )
        first[own] = name
    return tuple(first)


def positions(
    names: Sequence[str], known: Sequence[str], *, refusal: Callable[[str], str], own: str, others: str
) -> np.ndarray:
    """For each of ``names``, its place in ``known``: int64, shape of ``names``. By identity, never by order.

    Args:
        names: the classes that arrived.
        known: the classes that they must be among; there may be more of them.
        refusal: makes of the first class that is not known what is wrong.
        own: whose ``names`` are, for the message.
        others: whose ``known`` are.

    Raises:
        DataError: a class is not known, or a list has one class twice.
    """
    places = {name: place for place, name in enumerate(settled(known, others))}
    wanted = settled(names, own)
    strange = next((name for name in wanted if name not in places), None)
    if strange is not None:
        raise DataError(
            f"{refusal(strange)}; {others}: {listed(known)}; {own}: {listed(names)}{nearest(strange, known)}"
        )
    import numpy as np  # here: a command that only lists things does without

    return np.array([places[name] for name in wanted], np.int64)


def listed(names: Sequence[str]) -> str:
    """Classes for a message."""
    shown: list[str] = []
    letters = 0
    for name in names[:MOST_LISTED]:
        short = name if len(name) <= 100 else f"{name[:97]}..."
        letters += len(short) + 2
        if letters > MOST_LETTERS:
            break
        shown.append(short)
    listing = ", ".join(shown)
    return listing if len(shown) == len(names) else f"{listing}, ... ({len(names)} in all)"
