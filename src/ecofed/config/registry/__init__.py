"""Methods, networks, codecs and data formats that come from outside the package: one door for all of them.

A plug-in is a Python file or module that calls :func:`register` (a method), :func:`register_network`,
:func:`register_codec` or :func:`register_format` when it is imported. It is named with ``--plugin FILE.py``, or
installed and found by its entry point in the group ``ecofed.plugins``. What it registers is known everywhere by name:
the command line, comparisons, plans, reports. Runs and trained networks keep the plug-in's name, version and digest,
and ask for it by name; its code never travels.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ecofed.config.facts import CodecFacts, Facts
from ecofed.config.registry.contract import (
    NO_METHODS,
    breach,
    check_codec,
    check_messages,
    check_network,
    check_program,
    check_settings,
    check_side,
    checked_name,
    not_listed,
    number_messages,
)
from ecofed.config.registry.entries import CodecEntry, Entry, MethodEntry, NetworkEntry
from ecofed.config.registry.entries import FormatEntry as FormatEntry
from ecofed.config.registry.sources import Origin as Origin
from ecofed.config.registry.sources import digest, from_file, from_module, version_of
from ecofed.errors import ConfigError, PluginError
from ecofed.errors.foreign_text import clean

GROUP = "ecofed.plugins"
#: What mean something else in ``data.name`` before a colon.
NO_FORMATS = ("arrays", "file", "hf", "http", "https")

C = TypeVar("C", bound=type)


_methods: dict[str, MethodEntry] = {}
_networks: dict[str, NetworkEntry] = {}
_codecs: dict[str, CodecEntry] = {}
_formats: dict[str, FormatEntry] = {}
_loaded: dict[str, Origin] = {}
_loading: list[Origin] = []
#: To be emptied when something new is known.
_caches: list[Callable[[], None]] = []


def forget_when_new(cached: Any) -> Any:
    """Decorator: empty a function's cache when a plug-in registers something."""
    _caches.append(cached.cache_clear)
    return cached


def register(cls: C) -> C:
    """Make a method known by ``cls.name``; usable as a decorator.

    The class is a :class:`ecofed.methods.Method`. It may have ``Settings`` (a frozen dataclass: the section of the
    configuration that bears the method's name), ``messages`` (its own message classes), ``Device`` (the device's side:
    made with the task and the device's data, with ``answers``: request class to method name), and the facts
    that differ from :class:`ecofed.config.facts.Facts`.

    Raises:
        ConfigError: a name that is taken or cannot be one, settings, messages or answers that are none, or no method.
    """
    from ecofed.config.methods import own_settings

    name = _free_name(cls, "method", _methods)
    settings = own_settings(cls)
    check_settings(name, settings)
    if not issubclass(cls, Facts):
        raise breach("method", name, "must be a subclass of ecofed.methods.Method")
    check_program(name, cls)
    messages = getattr(cls, "messages", ())
    others = {key: getattr(entry.cls, "messages", ()) for key, entry in _methods.items() if key != name}
    check_messages(name, messages, others)
    number_messages(messages)
    if cls.Device is not None and not isinstance(cls.Device, str):  # a place is looked at when a device is made
        check_side(name, cls.Device, messages)
    _methods[name] = MethodEntry(cls=cls, settings=settings, origin=_origin_of(cls))
    _changed()
    return cls


def register_network(name: str, *, cut: str, image_size: int | None = None) -> Callable[[C], C]:
    """Decorator: make a network known as ``model.name = name``.

    It decorates a function of (in_channels, classes, width, head_width) that returns a ``torch.nn.Module`` with
    parts that :func:`ecofed.partition` can cut after ``cut``, its default. A network for photographs
    has an ``image_size``, the side of the pictures that it takes unless ``model.image_size`` says otherwise; without
    one it is for pictures of 32x32.

    Raises:
        ConfigError: a name that is taken or cannot be one, or a function that takes something else.
    """

    def known(build: C) -> C:
        checked_name(name, "network")
        others = [key for key, entry in _networks.items() if entry.build.__module__ != build.__module__]
        _require_free(name, "network", (*_built_in("network"), *others))
        check_network(name, build, cut, image_size)
        _networks[name] = NetworkEntry(build=build, cut=cut, image_size=image_size, origin=_origin_of(build))
        _changed()
        return build

    return known


def register_codec(cls: C) -> C:
    """Make a codec known as ``codec.name = cls.name``; usable as a decorator.

    The class is a :class:`ecofed.activations.Codec`, made with the shape of an activation (C, H, W), the front's limits
    of its channels (or ``None``) and ``codec.bits``. Its facts (:class:`ecofed.config.facts.CodecFacts`) say which
    bits it has and whether it needs limits; with ``exportable`` it also has ``to_onnx``.

    Raises:
        ConfigError: a name that is taken or cannot be one, or no codec at all.
    """
    name = _free_name(cls, "codec", _codecs)
    if not issubclass(cls, CodecFacts):
        raise breach("codec", name, "must be a subclass of ecofed.activations.Codec")
    check_codec(name, cls)
    _codecs[name] = CodecEntry(cls=cls, origin=_origin_of(cls))
    _changed()
    return cls


def register_format(cls: C) -> C:
    """Make a data format known: ``data.name = "NAME:PATH"`` is read by it; usable as a decorator.

    The class has ``name``; ``layout``, what a user has to provide, in a few words; and two static methods:
    ``find(path)`` gives the files that the data consist of (an empty list: they are not of this format), and
    ``read(path, part)`` the :class:`ecofed.data.Pictures` of ``"train"`` or ``"test"`` (``None``: no such part).

    Raises:
        ConfigError: a name that is taken or cannot be one, or something that is missing.
    """
    name = _free_name(cls, "format", _formats)
    for needed in ("layout", "find", "read"):
        if not hasattr(cls, needed):
            raise breach("format", name, f"has no '{needed}'")
    _formats[name] = FormatEntry(cls=cls, origin=_origin_of(cls))
    _changed()
    return cls


def load_plugin(named: str | Path) -> Origin:
    """Import a plug-in: a file ``FILE.py``, or a module by its name. A second time it does nothing.

    Raises:
        ConfigError: there is none, or it cannot be imported; the message says what went wrong in it.
    """
    text = str(named)
    is_file = text.endswith(".py") or "/" in text
    key = str(Path(text).resolve()) if is_file else text
    if key in _loaded:
        return _loaded[key]
    try:
        origin, run = from_file(Path(text)) if is_file else from_module(text)
        _loading.append(origin)
        try:
            run()
        except ConfigError as error:
            _forget(origin)
            raise ConfigError(f"plug-in {text}: {error}") from error
        except BaseException:
            _forget(origin)
            raise
        finally:
            _loading.pop()
    # Whatever a stranger's file raises when it is run.
    except Exception as error:
        if isinstance(error, ConfigError):
            raise
        reason = clean(f"{type(error).__name__}: {error}".splitlines()[0])
        raise ConfigError(f"plug-in {text}: cannot be imported ({reason})") from error
    _loaded[key] = origin
    return origin


def plugins_to_pass_on() -> list[str]:
    """What another process of this machine must load to know the same."""
    return list(_loaded)


@cache
def _find_installed() -> None:
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        load_plugin(entry.module)


def methods() -> Mapping[str, MethodEntry]:
    """The methods of all plug-ins, those of installed packages included."""
    _find_installed()
    return _methods


def networks() -> Mapping[str, NetworkEntry]:
    """The networks of all plug-ins, those of installed packages included."""
    _find_installed()
    return _networks


def codecs() -> Mapping[str, CodecEntry]:
    """The codecs of all plug-ins, those of installed packages included."""
    _find_installed()
    return _codecs


def formats() -> Mapping[str, FormatEntry]:
    """The data formats of all plug-ins, those of installed packages included."""
    _find_installed()
    return _formats


def origins(*entries: Entry | None) -> list[dict[str, str]]:
    """What a run records of the plug-ins that it needs, each once."""
    found = [dataclasses.asdict(entry.origin) for entry in entries if entry is not None]
    return [origin for at, origin in enumerate(found) if origin not in found[:at]]


def broken(kind: str, name: str, what: str) -> ConfigError:
    """The error for something that a plug-in registered and that is not what it has to be, as its use has shown."""
    tables: dict[str, Mapping[str, Entry]] = {"method": _methods, "network": _networks, "codec": _codecs}
    entry = tables[kind].get(name)
    return breach(kind, name, what, "" if entry is None else entry.origin.plugin)


def check_side_of(method: str, side: Any) -> None:
    """Raise :class:`ConfigError` unless this class can be the method's side on devices."""
    entry = methods().get(method)
    check_side(method, side, messages_of(method), "" if entry is None else entry.origin.plugin)


def check_message_of(method: str, message: Any) -> None:
    """Raise :class:`ConfigError` unless this class is a message of the method, or a built-in one."""
    if problem := not_listed(message, messages_of(method)):
        raise broken("method", method, problem)


def messages_of(method: str) -> Sequence[Any]:
    """The message classes that a method brings; none of a built-in one."""
    entry = methods().get(method)
    return () if entry is None else getattr(entry.cls, "messages", ())


def all_entries() -> list[Entry]:
    """Everything that plug-ins registered."""
    return [*methods().values(), *networks().values(), *codecs().values(), *formats().values()]


def require_plugins(recorded: Any) -> None:
    """Raise :class:`PluginError` unless what :func:`origins` recorded is loaded, in the same version."""
    for origin in recorded if isinstance(recorded, list) else []:
        wanted = {name: clean(str(origin.get(name, ""))) for name in ("plugin", "version", "digest")}
        loaded = {own["plugin"]: own for own in origins(*all_entries())}
        name = wanted["plugin"]
        if name not in loaded:
            raise PluginError(f"this was made with the plug-in {name}: load it with --plugin {name}")
        if loaded[name]["digest"] != wanted["digest"]:
            raise PluginError(
                f"this was made with another version of the plug-in {name} (digest {wanted['digest'][:8]}, loaded is "
                f"{loaded[name]['digest'][:8]}): load that one with --plugin"
            )


@contextmanager
def only_here() -> Iterator[None]:
    """Forget at the end what was registered within; for tests and notebooks."""
    kept = [(table, dict(table)) for table in (*_tables(), _loaded)]
    try:
        yield
    finally:
        for table, content in kept:
            table.clear()
            table.update(content)
        _changed()


def _forget(origin: Origin) -> None:
    """Of a plug-in that failed half-way nothing stays."""
    for table in _tables():
        for name in [name for name, entry in table.items() if entry.origin is origin]:
            del table[name]
    _changed()


def _tables() -> tuple[dict[str, Any], ...]:
    return _methods, _networks, _codecs, _formats


def _changed() -> None:
    for clear in _caches:
        clear()


def _built_in(kind: str) -> tuple[str, ...]:
    from ecofed.config.codecs import BUILT_IN_CODECS
    from ecofed.config.methods import METHODS
    from ecofed.config.schema import BUILT_IN_NETWORKS

    tables = {"method": METHODS, "network": BUILT_IN_NETWORKS, "codec": tuple(BUILT_IN_CODECS)}
    return tables.get(kind, NO_FORMATS)


def _free_name(cls: type, kind: str, table: Mapping[str, Any]) -> str:
    """The name of a class that is to stand in this table."""
    name = checked_name(getattr(cls, "name", None), kind)
    _require_free(name, kind, (*_built_in(kind), *(key for key in table if table[key].cls is not cls)))
    return name


def _require_free(name: str, kind: str, taken: Sequence[str]) -> None:
    from ecofed.config.schema import Config

    keys = {field.name for field in dataclasses.fields(Config)}
    reserved = {*keys, *NO_METHODS} if kind == "method" else set()
    if name in taken or name.replace("-", "_") in reserved:
        raise ConfigError(f"{kind} '{name}': the name is taken; choose another")


def _origin_of(registered: Any) -> Origin:
    if _loading:
        return _loading[-1]
    name = str(registered.__module__)
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if name == "__main__" and file:  # a script that registers, and runs
        name = Path(file).name
    return Origin(plugin=name, version=version_of(name), digest=digest(Path(file)) if file else "")
