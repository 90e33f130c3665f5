"""Which class is which, where classes come from two places: splits, shards, devices, a network and the data it meets.

A class is its name, in Unicode's composed form (NFC) and without what surrounds it. Case counts: ``Cat`` is not
``cat``. A class without a name is its original number, written out: 3 is ``3``. Where a class stands in a list says
nothing. What cannot be matched is refused, with both lists.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from ecofed.errors import DataError, nearest

#: Of a list in a message.
MOST_LISTED = 40
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
        DataError: a name is empty, or two are the same class.
    """
    first: dict[str, str] = {}
    for name in names:
        own = identity(name)
        if not own:
            raise DataError(f"{where}: a class has no name ({name!a})")
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
    return np.array([places[name] for name in wanted], np.int64)


def listed(names: Sequence[str]) -> str:
    """Classes for a message."""
    shown = ", ".join(names[:MOST_LISTED])
    return shown if len(names) <= MOST_LISTED else f"{shown}, ... ({len(names)} in all)"
