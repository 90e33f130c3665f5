"""Keys that have moved to another section: what earlier versions wrote is understood for one version, with a hint.

Each section says which keys stood in it (``MOVED``). Everything behind this module knows the current names only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from ecofed.config.fields import assign
from ecofed.config.methods import BUILT_IN
from ecofed.errors import ConfigError, Notice

Path = tuple[str, ...]
Assignment = tuple[Path, Any]
RECORDED = (
    "a configuration that an earlier version of ecofed recorded was read: what stood in its section [{section}] is now "
    "in {sections}"
)


@cache
def moved_keys() -> Mapping[str, str]:
    """The old name of a key, dotted, and its name now."""
    sections = {facts.name: getattr(facts.Settings, "MOVED", {}) for facts in BUILT_IN.values()}
    return MappingProxyType({f"{name}.{old}": new for name, keys in sections.items() for old, new in keys.items()})


def current_path(path: Path) -> Path:
    """Where a key stands now; a method that it is overridden for stays in front of it."""
    new = moved_keys().get(".".join(path[-2:]))
    return path if new is None else (*path[:-2], *new.split("."))


def current_name(dotted: str) -> str:
    """The same of a dotted name."""
    return ".".join(current_path(tuple(dotted.split("."))))


def with_current_paths(*layers: Sequence[Assignment]) -> list[list[Assignment]]:
    """Assignments under the names that keys have now. Old names are hinted at, all of them in one line.

    Args:
        layers: what a file says, what was set on top of it, ...: within one of them a key may not have two values
            under two names.

    Raises:
        ConfigError: it has.
    """
    hints: dict[str, None] = {}
    for layer in layers:
        given = dict(layer)
        for path, value in layer:
            new = current_path(path)
            if new != path:
                _require_one_value(path, value, new, given.get(new, value))
                hints[f"{'.'.join(path)} is now {'.'.join(new)}"] = None
    if hints:
        warnings.warn(", ".join(hints), Notice, stacklevel=2)
    return [[(current_path(path), value) for path, value in layer] for layer in layers]


def with_current_keys(recorded: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration as it was recorded, with the sections of this version; the very same if it has these.

    Raises:
        ConfigError: a key has two values under two names.
    """
    old = [*_old_keys(recorded)]
    if not old:
        return recorded
    values = {name: dict(kept) if isinstance(kept, Mapping) else kept for name, kept in recorded.items()}
    for section, key in old:
        value, new = values[section].pop(key), current_path((section, key))
        there = values.get(new[0], {})
        _require_one_value((section, key), value, new, there.get(new[1], value) if isinstance(there, dict) else value)
        assign(values, list(new), value)
    sections = dict.fromkeys(f"[{current_path(path)[0]}]" for path in old)
    warnings.warn(RECORDED.format(section=old[0][0], sections=" and ".join(sections)), Notice, stacklevel=2)
    return values


def _old_keys(recorded: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for dotted in moved_keys():
        section, _, key = dotted.partition(".")
        content = recorded.get(section)
        if isinstance(content, Mapping) and key in content:
            yield section, key


def _require_one_value(old: Path, value: Any, new: Path, other: Any) -> None:
    if str(value).lower() != str(other).lower():
        raise ConfigError(
            f"{'.'.join(old)} = {value!r} and {'.'.join(new)} = {other!r}: the old and the new name of one key; keep "
            f"{'.'.join(new)}"
        )
