"""Methods and networks that come from outside the package: one door for all of them.

A plug-in is a Python file or module that calls :func:`register` (methods) or :func:`register_network` when it is
imported. It is named with ``--plugin FILE.py``, or installed and found by its entry point in the group
``ecofed.plugins``. What it registers is known everywhere by name: the command line, comparisons, plans, reports. Runs
and trained networks keep the plug-in's name, version and digest, and ask for it by name; its code never travels.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from ecofed.config.facts import Facts, NoSettings
from ecofed.errors import ConfigError, PluginError
from ecofed.foreign_text import clean

GROUP = "ecofed.plugins"
#: Messages of a plug-in's method are numbered from here, in their order.
FIRST_MESSAGE, MOST_MESSAGES = 128, 100

C = TypeVar("C", bound=type)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where something that is registered comes from."""

    plugin: str
    """Name of the file or module."""
    version: str
    """Of the installed package; empty for a file."""
    digest: str
    """Of the source text."""


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method of a plug-in."""

    cls: Any
    """A subclass of :class:`ecofed.methods.Method`, and so its own :class:`ecofed.config.facts.Facts`."""
    settings: type
    """Its section of the configuration."""
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """A network of a plug-in."""

    build: Callable[..., Any]
    cut: str
    image_size: int | None
    """Side of the pictures that it takes unless told otherwise; ``None``: 32x32 only, as the paper's networks."""
    origin: Origin


_methods: dict[str, MethodEntry] = {}
_networks: dict[str, NetworkEntry] = {}
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
        ConfigError: a name that is taken or cannot be one, settings or messages that are none, or no method at all.
    """
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name.replace("-", "").isalnum() or not name.isascii() or name != name.lower():
        raise ConfigError(f"method {name!r}: a name is lower-case letters, digits and dashes")
    _require_free(name, "method", (*_built_in("method"), *(key for key in _methods if _methods[key].cls is not cls)))
    settings = getattr(cls, "Settings", NoSettings)
    if not dataclasses.is_dataclass(settings) or not settings.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise ConfigError(f"method '{name}': Settings must be a frozen dataclass")
    messages: Sequence[Any] = getattr(cls, "messages", ())
    if len(messages) > MOST_MESSAGES:
        raise ConfigError(f"method '{name}': {len(messages)} messages are more than {MOST_MESSAGES}")
    if not issubclass(cls, Facts):
        raise ConfigError(f"method '{name}': must be a subclass of ecofed.methods.Method")
    for number, message in enumerate(messages, start=FIRST_MESSAGE):
        message.number = number
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
        ConfigError: a name that is taken.
    """

    def known(build: C) -> C:
        others = [key for key, entry in _networks.items() if entry.build.__module__ != build.__module__]
        _require_free(name, "network", (*_built_in("network"), *others))
        _networks[name] = NetworkEntry(build=build, cut=cut, image_size=image_size, origin=_origin_of(build))
        _changed()
        return build

    return known


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
        origin, run = _from_file(Path(text)) if is_file else _from_module(text)
        _loading.append(origin)
        try:
            run()
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


def origins(*entries: MethodEntry | NetworkEntry | None) -> list[dict[str, str]]:
    """What a run records of the plug-ins that it needs, each once."""
    found = [dataclasses.asdict(entry.origin) for entry in entries if entry is not None]
    return [origin for at, origin in enumerate(found) if origin not in found[:at]]


def messages_of(method: str) -> Sequence[Any]:
    """The message classes that a method brings; none of a built-in one."""
    entry = methods().get(method)
    return () if entry is None else getattr(entry.cls, "messages", ())


def all_entries() -> list[MethodEntry | NetworkEntry]:
    """Everything that plug-ins registered."""
    return [*methods().values(), *networks().values()]


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
    kept = [(table, dict(table)) for table in (_methods, _networks, _loaded)]
    try:
        yield
    finally:
        for table, content in kept:
            table.clear()
            table.update(content)  # type: ignore[arg-type]
        _changed()


def _forget(origin: Origin) -> None:
    """Of a plug-in that failed half-way nothing stays."""
    tables: tuple[dict[str, Any], ...] = (_methods, _networks)
    for table in tables:
        for name in [name for name, entry in table.items() if entry.origin is origin]:
            del table[name]
    _changed()


def _changed() -> None:
    for clear in _caches:
        clear()


def _built_in(kind: str) -> tuple[str, ...]:
    from ecofed.config.methods import METHODS
    from ecofed.config.schema import BUILT_IN_NETWORKS

    return METHODS if kind == "method" else BUILT_IN_NETWORKS


def _require_free(name: str, kind: str, taken: Sequence[str]) -> None:
    from ecofed.config.schema import Config

    reserved = {field.name for field in dataclasses.fields(Config)} if kind == "method" else set()
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
    return Origin(plugin=name, version=_version_of(name), digest=_digest(Path(file)) if file else "")


def _from_file(file: Path) -> tuple[Origin, Callable[[], Any]]:
    if not file.is_file():
        raise ConfigError(f"plug-in {file}: no such file")
    origin = Origin(plugin=file.name, version="", digest=_digest(file))
    # Under its own name, so that a file of its folder can import it, unless that name is taken.
    name = file.stem if file.stem not in sys.modules else f"ecofed_plugin_{origin.digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plug-in {file}: must be a Python file")
    module, loader = importlib.util.module_from_spec(spec), spec.loader

    def run() -> None:
        sys.modules[name] = module  # dataclasses look their module up
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise

    return origin, run


def _from_module(name: str) -> tuple[Origin, Callable[[], Any]]:
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ConfigError(f"plug-in {name}: no such module, nor a file (which ends in .py)")
    digest = _digest(Path(spec.origin)) if spec.origin and Path(spec.origin).is_file() else ""
    return Origin(plugin=name, version=_version_of(name), digest=digest), lambda: importlib.import_module(name)


def _digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()[:32]


def _version_of(module: str) -> str:
    from importlib.metadata import packages_distributions, version

    owners = packages_distributions().get(module.partition(".")[0], [])
    return version(owners[0]) if owners else ""
