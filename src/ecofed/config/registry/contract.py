"""What a plug-in has promised by registering something: asked at once where that can be, and said in one line.

Only the contract is looked at. What the plug-in's own code raises keeps its traceback: it is its author's to mend.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ecofed.errors import ConfigError, nearest

#: Messages of a plug-in's method are numbered from here, in their order.
FIRST_MESSAGE, MOST_MESSAGES = 128, 100
#: Where the built-in messages are: they have numbers of their own.
BUILT_IN_MESSAGES = "ecofed.wire.messages"
#: What a configuration can say: in TOML, and on the command line.
_KINDS = (bool, int, float, str, NoneType)
#: What means something else where the name of a method may stand: keys of a configuration's file beside those of
#: ``Config``, and words of ``ecofed frontier --baselines``.
NO_METHODS = ("plugins", "methods", "paper", "none")


def breach(kind: str, name: str, what: str, plugin: str = "") -> ConfigError:
    """The error for something registered that is not what it has to be."""
    of = f" of the plug-in {plugin}" if plugin else ""
    return ConfigError(f"{kind} '{name}'{of}: {what}")


def checked_name(name: Any, kind: str) -> str:
    """A name that stands in TOML, on the command line and in folders' names."""
    plain = isinstance(name, str) and name.isascii() and name == name.lower() and name.replace("-", "").isalnum()
    if not plain or name.startswith("-"):
        raise ConfigError(f"{kind} {name!r}: a name is lower-case letters, digits and dashes")
    return str(name)


def kind_of(value: object) -> str:
    """What a value is, for messages."""
    return "None" if value is None else type(value).__name__


def takes(function: Callable[..., Any], *arguments: str) -> bool:
    """Whether a function can be called with so many arguments, in their order."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # of a built-in function that does not tell
        return True
    return True


def require_call(kind: str, name: str, what: str, function: Callable[..., Any], *arguments: str) -> None:
    """Raise :class:`ConfigError` unless the function can be called with these arguments."""
    if not takes(function, *arguments):
        raise breach(kind, name, f"{what} must take ({', '.join(arguments)})")


def require_whole(kind: str, cls: type, base: str) -> None:
    """Raise :class:`ConfigError` for a class that lacks what its base leaves to it."""
    missing = ", ".join(f"'{lacking}'" for lacking in sorted(getattr(cls, "__abstractmethods__", ())))
    if missing:
        raise breach(kind, cls.name, f"has no {missing}; {base} says what that is")  # type: ignore[attr-defined]


def check_settings(name: str, settings: Any) -> None:
    """Raise :class:`ConfigError` unless they are a section of the configuration."""
    parameters = getattr(settings, "__dataclass_params__", None)
    if not isinstance(settings, type) or parameters is None or not parameters.frozen:
        raise breach("method", name, "Settings must be a frozen dataclass")
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for one in inspect.signature(settings).parameters.values():
        if one.default is inspect.Parameter.empty and one.kind not in variable:
            raise breach("method", name, f"Settings.{one.name} has no default; every key may be left out: give it one")
    if problem := _default_misfit(settings):
        raise breach("method", name, problem)


def _default_misfit(settings: type) -> str:
    """What is wrong with the keys of a section as they stand when nobody sets one; empty: nothing."""
    try:
        hints = get_type_hints(settings)
    except (NameError, TypeError) as error:
        return f"Settings: a type cannot be found ({error}); import it"
    for key in dataclasses.fields(settings):
        hint, value = hints[key.name], key.default
        if key.default_factory is not dataclasses.MISSING:
            value = key.default_factory()
        kinds = tuple(get_args(hint)) if get_origin(hint) in (Union, UnionType) else (hint,)
        known = all(kind in _KINDS or get_origin(kind) is Literal or dataclasses.is_dataclass(kind) for kind in kinds)
        if not known:
            rule = "a key is bool, int, float, str, a Literal, or one of these or None"
            return f"Settings.{key.name} is of a type that no configuration can say ({key.type}); {rule}"
        if not any(_is_of(value, kind) for kind in kinds):
            return f"Settings.{key.name} = {value!r} is {kind_of(value)}, and its type is {key.type}; make them agree"
    try:
        settings()
    except Exception as error:  # of checks that a stranger has written
        return f"Settings with its defaults ends in {type(error).__name__}: {error}"
    return ""


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return type(value) in ((int, float) if kind is float else (kind,))


def check_messages(name: str, messages: Any, others: Mapping[str, Sequence[type]]) -> None:
    """Raise :class:`ConfigError` unless they are message classes, each with one place.

    ``others``: the messages of other methods. A class that two methods name has to have the same place in both.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise breach("method", name, "messages must be a tuple of message classes, such as (Request, Reply)")
    if len(messages) > MOST_MESSAGES:
        raise breach("method", name, f"{len(messages)} messages are more than {MOST_MESSAGES}")
    for place, message in enumerate(messages):
        if not _is_message(message):
            raise breach("method", name, f"messages has {message!r}, which is no subclass of ecofed.wire.Message")
        if problem := _not_written(message):
            raise breach("method", name, f"message {message.__name__} {problem}")
        for other, theirs in others.items():
            if message in theirs and theirs.index(message) != place and message.__module__ != BUILT_IN_MESSAGES:
                rule = f"has place {theirs.index(message) + 1} in the messages of '{other}'; give it the same here"
                raise breach("method", name, f"message {message.__name__} {rule}")


def _is_message(value: Any) -> bool:
    numbered = isinstance(getattr(value, "number", None), int)
    return isinstance(value, type) and dataclasses.is_dataclass(value) and numbered


def _not_written(message: type) -> str:
    """Why a message class cannot be written; empty: it can."""
    own = vars(message)
    if "__dataclass_fields__" not in own and own.get("__annotations__"):
        return "must be a dataclass: @dataclass(frozen=True, kw_only=True)"
    bare = [field.name for field in dataclasses.fields(message) if "wire" not in field.metadata]
    return f"does not say how '{bare[0]}' is written; make it a field with carried(...)" if bare else ""


def number_messages(messages: Iterable[Any]) -> None:
    """Give each its number on the wire."""
    for number, message in enumerate(messages, start=FIRST_MESSAGE):
        if message.__module__ != BUILT_IN_MESSAGES:
            message.number = number


def check_program(name: str, cls: Any) -> None:
    """Raise :class:`ConfigError` unless the method is whole, and is called as methods are."""
    require_whole("method", cls, "ecofed.methods.base.Method")
    if not hasattr(cls, "train_round"):  # facts alone: nobody runs it
        return
    require_call("method", name, "its __init__", cls, "context")
    require_call("method", name, "train_round", cls.train_round, "self", "round_", "sampled")
    if not takes(cls.visit, "config", "work", "stop"):
        raise breach("method", name, "visit must be a class method that takes (config, work, stop)")


def check_side(name: str, side: Any, messages: Sequence[type], plugin: str = "") -> None:
    """Raise :class:`ConfigError` unless this class can be a method's side on devices: its ``answers`` hold."""
    if not isinstance(side, type):
        raise breach("method", name, f"Device = {side!r}: must be a class, or where it is, as 'module:Class'", plugin)
    if not takes(side, "task", "data") and not takes(side, "front"):  # of a side that only runs the frozen front
        raise breach("method", name, f"the __init__ of {side.__name__} must take (task, data)", plugin)
    answers = getattr(side, "answers", None)
    if not isinstance(answers, Mapping):
        rule = "has no 'answers', which map each request class to the name of a function there"
        raise breach("method", name, f"{side.__name__} {rule}", plugin)
    for request, function in answers.items():
        if not _is_message(request):
            raise breach("method", name, f"{side.__name__}.answers has {request!r}, which is no message class", plugin)
        if problem := not_listed(request, messages):
            raise breach("method", name, problem, plugin)
        if not isinstance(function, str) or not callable(getattr(side, function, None)):
            known = [word for word in dir(side) if not word.startswith("_")]
            rule = f"answers {request.__name__} with '{function}', which it does not have"
            raise breach("method", name, f"{side.__name__} {rule}{nearest(str(function), known)}", plugin)


def not_listed(message: type, messages: Sequence[type]) -> str:
    """What is wrong with a message that a method uses and that is none of its own, nor built in; empty: nothing."""
    if message in messages or message.__module__ == BUILT_IN_MESSAGES:
        return ""
    return f"message {message.__name__} is missing in its 'messages'; name it there"


def check_codec(name: str, cls: Any) -> None:
    """Raise :class:`ConfigError` unless the codec is whole, and is called as codecs are."""
    require_whole("codec", cls, "ecofed.activations.Codec")
    if any(not hasattr(cls, needed) for needed in ("encode", "decode", "row_bytes")):
        raise breach("codec", name, "must be a subclass of ecofed.activations.Codec")
    require_call("codec", name, "its __init__", cls, "shape_CHW", "upper_C", "bits")
    require_call("codec", name, "encode", cls.encode, "self", "h_NCHW", "batch_size")
    require_call("codec", name, "decode", cls.decode, "self", "rows", "scale_N")
    bits = cls.allowed_bits
    if not isinstance(bits, Sequence) or not bits or any(one not in range(1, 9) for one in bits):
        raise breach("codec", name, f"allowed_bits = {bits!r}: must be a range or list of whole numbers from 1 to 8")


def check_network(name: str, build: Any, cut: Any, image_size: Any) -> None:
    """Raise :class:`ConfigError` unless the builder is called as builders are."""
    require_call("network", name, "its function", build, "in_channels", "classes", "width", "head_width")
    if not isinstance(cut, str):
        raise breach("network", name, f"cut = {cut!r}: must be the name of a layer")
    if image_size is not None and (not isinstance(image_size, int) or image_size < 1):
        raise breach("network", name, f"image_size = {image_size!r}: must be a whole number of pixels, or left out")
