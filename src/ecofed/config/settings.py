"""Settings as a user gives them, from which :meth:`Settings.for_method` makes the configuration of each method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ecofed.config.fields import assign, convert, flatten, require
from ecofed.config.methods import PAPER_METHODS, nearest_method
from ecofed.config.moved import Assignment, with_current_paths
from ecofed.config.presets import read_toml
from ecofed.config.schema import Config, all_methods, hints_of_keys, not_a_key, path_of, section_types, unknown_key
from ecofed.errors import ConfigError


def _check_assignment(path: tuple[str, ...], value: Any) -> None:
    """Refuse a path that names no key, and a value of the wrong type; both under the name that the user wrote."""
    dotted, hints = ".".join(path), hints_of_keys()
    override = ".".join(path[1:]) if path[0] in all_methods() else ""
    key = dotted if dotted in hints else override
    if dotted in section_types():
        raise not_a_key(dotted, value)
    if key not in hints:
        raise unknown_key(dotted)
    if key == "method" and dotted != "method":
        raise ConfigError(f"{dotted}: a method cannot be overridden for itself; leave it out")
    if key == "method":
        names = all_methods()
        require(value in names, dotted, value, f"must be one of {', '.join(names)}{nearest_method(str(value), names)}")
    convert(dotted, value, hints[key])


def _compared(value: Any) -> tuple[str, ...]:
    """The methods that a file wants compared."""
    known = all_methods()
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConfigError(f"methods = {value!r}: must be a list of methods, such as ['ecofed', 'send-images']")
    for name in value:
        require(str(name) in known, "methods", name, f"must be of {', '.join(known)}{nearest_method(str(name), known)}")
        require(value.count(name) == 1, "methods", name, "must stand there once")
    return tuple(value)


def assignments_of(words: Iterable[str], example: str = "rounds=10") -> list[Assignment]:
    """What ``key=value`` words say, under the names that they use.

    Raises:
        ConfigError: one is no assignment.
    """
    pairs = []
    for text in words:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {text!r}: must be key=value, for example --set {example}")
        pairs.append((tuple(key.strip().split(".")), value.strip()))
    return pairs


def key_for(path: tuple[str, ...], method: str) -> str | None:
    """The key that a path sets for a method, if any: ``ecofed.codec.bits`` is ``codec.bits``, for ecofed alone."""
    dotted = ".".join(path)
    if dotted in hints_of_keys():
        return dotted
    return ".".join(path[1:]) if path[0] == method else None


@dataclass(frozen=True)
class Settings:
    """Assignments that are not yet resolved for one method: ``(path, value)`` pairs, later ones win."""

    assignments: tuple[tuple[tuple[str, ...], Any], ...] = ()
    source: str = "defaults"
    from_file: int = 0
    """How many of the first assignments a preset or file made: later ones win over its sections for methods, too."""
    compared: tuple[str, ...] = PAPER_METHODS
    """What is compared where nobody names methods: ``methods = [...]`` in a preset or file."""

    def __post_init__(self) -> None:
        for path, value in self.assignments:
            _check_assignment(path, value)

    @classmethod
    def load(cls, source: str | Path | None, sets: str | Iterable[str] = ()) -> Settings:
        """Read a preset's name or a TOML file, then ``key=value`` strings (or one) on top.

        Raises:
            ConfigError: no such preset or file, malformed TOML, an assignment without ``=``, an unknown key, or an
                impossible value.
        """
        # First: of '--set rounds 5' the shell makes a source called 5.
        asked = assignments_of([sets] if isinstance(sets, str) else sets)
        compared = PAPER_METHODS
        in_file: list[Assignment] = []
        if source is not None:
            values = dict(read_toml(source))
            try:
                compared = _compared(values.pop("methods", compared))
                in_file += flatten(values, ())
            except ConfigError as error:
                raise ConfigError(f"{source}: {error}") from None
        in_file, on_top = with_current_paths(in_file, asked)
        try:
            cls(tuple(in_file))
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from None
        settings = cls((*in_file, *on_top), str(source or "defaults"), len(in_file), compared)
        for method in (settings.method, *all_methods()):  # every value is checked, whichever method will run
            settings.for_method(method)
        return settings

    @property
    def method(self) -> str:
        """The method that the settings name, or the default."""
        return str(next((value for path, value in reversed(self.assignments) if path == ("method",)), Config.method))

    def keys_on_top(self, method: str) -> set[str]:
        """Those that were set on top of a preset or file and count for a method, under their own names."""
        found = (key_for(path, method) for path, _ in self.assignments[self.from_file :])
        return {key for key in found if key is not None}

    def with_set(self, **changes: Any) -> Settings:
        """Add assignments; nested keys with ``__``."""
        (extra,) = with_current_paths([(path_of(key), value) for key, value in changes.items()])
        return replace(self, assignments=(*self.assignments, *extra))

    def for_method(self, method: str) -> Config:
        """The complete configuration of one method: the preset's general keys, its overrides for the method, then
        what was set on top, in the same order."""
        names = all_methods()
        if method not in names:
            raise ConfigError(
                f"unknown method '{method}'{nearest_method(method, names)}; choose from {', '.join(names)}"
            )
        values: dict[str, Any] = {}
        overridden = False
        for layer in (self.assignments[: self.from_file], self.assignments[self.from_file :]):
            # Not a key of the method's own section: a general key, for this method alone.
            own = [pair for pair in layer if pair[0][0] == method and ".".join(pair[0]) not in hints_of_keys()]
            for path, value in layer:
                if ".".join(path) in hints_of_keys():
                    assign(values, list(path), value)
            for path, value in own:
                assign(values, list(path[1:]), value)
            overridden = overridden or bool(own)
        values["method"] = method
        on_top = {path[-2:] for path, _ in self.assignments[self.from_file :]}
        if ("data", "name") in on_top and ("data", "fallback") not in on_top:
            # A preset's fallback stands in for the preset's own data, never for what the user asked for.
            assign(values, ["data", "fallback"], None)
        try:
            return Config.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{error} (in the settings of {method})" if overridden else str(error)) from None
