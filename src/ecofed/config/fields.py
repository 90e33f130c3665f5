"""Values that come from outside (TOML, the command line), checked against the types of dataclass fields."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ecofed.errors import ConfigError, nearest

#: Of a section: keys that change nothing unless other keys allow it, what these must say, and whether they do.
Needs = Mapping[str, tuple[str, Callable[[Any], bool]]]


def require(condition: bool, key: str, value: object, rule: str) -> None:
    """Raise a :class:`ConfigError` that names ``key``, its value and the broken rule, unless ``condition`` holds."""
    if not condition:
        raise ConfigError(f"{key} = {value!r}: {rule}")


#: ``devices=auto`` until the data have been read (:func:`ecofed.runs.natural.settled`): no number that anybody gives.
AS_NAMED = -(2**62)


def convert(key: str, value: Any, hint: Any) -> Any:
    """``value`` as the type of a field; text from the command line is read as that type.

    Raises:
        ConfigError: it is not one; the message names ``key``.
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        words = [word for option in options for word in typing.get_args(option)]  # of a Literal
        if value in words:
            return value
        plain = [option for option in options if option is not type(None) and not typing.get_args(option)]
        return convert(key, value, plain[0] if plain else options[0])
    if origin is Literal:
        if value not in options:
            raise ConfigError(f"{key} = {value!r}: must be one of {', '.join(options)}{nearest(str(value), options)}")
        return value
    if hint is bool:
        named = {"true": True, "false": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in named:
            return named[value.lower()]
        raise ConfigError(f"{key} = {value!r}: must be true or false")
    if key == "devices" and value == "auto":
        return AS_NAMED
    if hint in (int, float):
        try:
            if isinstance(value, bool) or (hint is int and isinstance(value, float)):
                raise ValueError
            number = hint(value)
            require(hint is float or abs(number) < 2**63, key, number, "must be a whole number below 2^63")
            return number
        except (TypeError, ValueError, OverflowError):
            kind = "a whole number" if hint is int else "a number"
            raise ConfigError(f"{key} = {value!r}: must be {kind}") from None
    if not isinstance(value, str):
        raise ConfigError(f"{key} = {value!r}: must be text")
    return value


def assign(values: dict[str, Any], path: list[str], value: Any) -> None:
    """Set ``values[path[0]][path[1]]...`` in place, with the dicts on the way."""
    for part in path[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{'.'.join(path)}: '{part}' is one value and has no keys of its own")
    values[path[-1]] = value


def flatten(values: Mapping[str, Any], prefix: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """The leaves of a nested mapping as ``(path, value)`` pairs, in order."""
    pairs: list[tuple[tuple[str, ...], Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, (*prefix, key))
        else:
            pairs.append(((*prefix, key), value))
    return pairs
