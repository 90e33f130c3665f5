"""JSON (and TOML) from a file or another machine: read within bounds, then held against the types of a dataclass.

One validator for every description in a file: a result, a checkpoint's state, what a network or a front says of
itself. A refusal is one ``ValueError`` that names the field: ``'rounds[3].devices' must be a list, not null``. Who
calls knows which file it was, and which error of :mod:`ecofed.errors` that is.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

#: Nobody's description is nested deeper, and what walks over one calls itself at each level.
MOST_LEVELS = 40
#: Of a whole number. More than any count or seed has, fewer than take long to read.
MOST_DIGITS = 30
#: A reader of TOML takes time with the square of a name's dots.
MOST_TOML = 1 << 16


@dataclass(frozen=True)
class Within:
    """Bounds of a number in an annotation: ``Annotated[int, Within(0)]``. Both included."""

    least: float = -math.inf
    most: float = math.inf

    def __str__(self) -> str:
        return f"at least {self.least:g}" if self.most == math.inf else f"in {self.least:g}..{self.most:g}"


#: A count or a size: petabytes, and exact as a float.
Count = Annotated[int, Within(0, 2**53)]
#: Counts from 1.
Ordinal = Annotated[int, Within(1, 2**53)]
Seed = Annotated[int, Within(0, 2**63 - 1)]
#: Seconds, joules: not negative, and far from where sums of them overflow.
Amount = Annotated[float, Within(0, 1e30)]
Fraction = Annotated[float, Within(0, 1)]
#: A loss: whatever float32 holds.
Loss = Annotated[float, Within(-3.5e38, 3.5e38)]

#: How a nested type is read that has a reader of its own.
Readers = Mapping[type, Callable[[Any], Any]]


def parse(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON; a number that is not finite or absurdly long; a key that stands twice; too many levels.
    """
    try:
        value = json.loads(
            text,
            parse_constant=_refused_constant,
            parse_int=_whole_number,
            parse_float=_finite_number,
            object_pairs_hook=_object,
        )
    except RecursionError:
        raise ValueError(f"is nested deeper than {MOST_LEVELS} levels") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not valid JSON ({error})") from None
    _check_levels(value)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML text.

    Raises:
        ValueError: not TOML, or beyond the bounds of :func:`parse`.
    """
    import tomllib  # not needed to say how the command is used

    if len(text) > MOST_TOML:
        raise ValueError(f"is {len(text):,} characters long; settings have at most {MOST_TOML:,}")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MOST_LEVELS} levels") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not valid TOML: {error}") from None
    except ValueError:  # of Python's own, for numbers
        raise ValueError("holds a number that is too long") from None
    _check_levels(values)
    items: list[Any] = [values]
    while items:
        item = items.pop()
        items += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        if isinstance(item, int) and item.bit_length() > 8000:  # hexadecimal ones may have any length
            raise ValueError("holds a number that is too long")
    return values


def read_as(hint: Any, value: Any, path: str = "", readers: Readers | None = None) -> Any:
    """A parsed value as a type: dataclasses are made, everything in them is checked.

    Args:
        hint: a dataclass, ``list[X]``, ``tuple[X, ...]``, ``dict[str, X]``, ``X | None``, ``Literal``, ``Annotated``
            with :class:`Within`, ``int``, ``float`` (finite; whole numbers too), ``bool``, ``str`` or ``Any``.
        value: what :func:`parse` returned.
        path: of the value in its file, for messages; empty for the whole.
        readers: for types in it that read themselves.

    Raises:
        ValueError: the value is not of that type; names the path.
    """
    readers = readers or {}
    if isinstance(hint, type) and hint in readers:
        return readers[hint](value)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _read_dataclass(hint, value, path, readers)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        found = read_as(arguments[0], value, path, readers)
        for bounds in arguments[1:]:
            _require(not isinstance(bounds, Within) or bounds.least <= found <= bounds.most, path, bounds, value)
        return found
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return read_as(next(kind for kind in arguments if kind is not type(None)), value, path, readers)
    if origin is Literal:
        _require(value in arguments, path, f"one of {', '.join(map(str, arguments))}", value)
        return value
    if origin in (list, tuple):
        return _read_items(origin, arguments, value, path, readers)
    if origin is dict:
        _require(isinstance(value, dict), path, "an object", value)
        return {key: read_as(arguments[1], item, _field(path, key), readers) for key, item in value.items()}
    _require(_is_plain(hint, value), path, _KINDS[hint], value)
    return float(value) if hint is float else value


_KINDS = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "text",
    dict: "an object",
    list: "a list",
}


def _is_plain(hint: Any, value: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _read_items(origin: Any, arguments: tuple[Any, ...], value: Any, path: str, readers: Readers) -> Any:
    _require(isinstance(value, list), path, "a list", value)
    if origin is list or arguments[-1] is Ellipsis:
        kinds: Iterable[Any] = [arguments[0]] * len(value)
    else:
        _require(len(value) == len(arguments), path, f"a list of {len(arguments)}", value)
        kinds = arguments
    items = (
        read_as(kind, item, f"{path}[{at}]", readers) for at, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )
    return origin(items)


def _read_dataclass(hint: type, value: Any, path: str, readers: Readers) -> Any:
    _require(isinstance(value, dict), path, "an object", value)
    hints, needed = _fields(hint)
    place = _place(path)
    unknown = next((key for key in value if key not in hints), None)
    if unknown is not None:
        raise ValueError(f"{place} has an unknown field '{unknown[:100]}'")
    if lacking := next((name for name in needed if name not in value), None):
        raise ValueError(f"{place} lacks the field '{lacking}'")
    return hint(**{key: read_as(hints[key], item, _field(path, key), readers) for key, item in value.items()})


@cache
def _fields(hint: type) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """The types of a dataclass's fields, and the names of those that have no default."""
    fields = [field for field in dataclasses.fields(hint) if field.init]
    hints = typing.get_type_hints(hint, include_extras=True)
    nothing = dataclasses.MISSING
    needed = tuple(field.name for field in fields if field.default is nothing and field.default_factory is nothing)
    return {field.name: hints[field.name] for field in fields}, needed


def _field(path: str, key: str) -> str:
    return f"{path}.{key[:100]}" if path else key[:100]


def _place(path: str) -> str:
    return f"'{path}'" if path else "the whole"


def _require(condition: bool, path: str, rule: object, value: Any) -> None:
    if not condition:
        raise ValueError(f"{_place(path)} must be {rule}, not {_told(value)}")


def _told(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _refused_constant(name: str) -> Any:
    raise ValueError(f"holds {name}, which is not JSON")


def _whole_number(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"holds a whole number of {len(digits):,} digits")
    return int(digits)


def _finite_number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"holds {digits[:40]}, which no float can hold")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"has the key '{twice[:100]}' twice")
    return values


def _check_levels(value: Any) -> None:
    """Level by level, so that the check itself cannot go too deep."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MOST_LEVELS):
        items = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in items if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError(f"is nested deeper than {MOST_LEVELS} levels")
