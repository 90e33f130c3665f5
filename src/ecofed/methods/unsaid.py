"""Whether a plug-in's method says in ``state()`` what its next round depends on, tried before it is relied upon.

Its state is taken back by another object of its class, as in a process that resumes the run. What that one lacks would
make the resumed run another one, and nobody would see it.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ecofed.config.registry import broken
from ecofed.config.registry import methods as plugin_methods
from ecofed.config.registry.contract import kind_of
from ecofed.errors import EcoFedError
from ecofed.files.disk import json_text
from ecofed.files.json_values import parse
from ecofed.methods.base import Method
from ecofed.methods.restoring import compare

#: What every method is given anew.
_GIVEN = frozenset({"context", "config", "settings", "channel", "model", "halves", "counts"})


def unsaid(method: Method) -> list[str]:
    """Notes about what a resumed run would lack; none about a built-in method.

    Raises:
        ConfigError: its state cannot be written, or it does not take it back.
    """
    name = method.config.method
    if name not in plugin_methods() or type(method) is not plugin_methods()[name].cls:
        return []
    state: Any = method.state()
    if problem := _misfit(state):
        raise broken("method", name, problem)
    if method.keeps_buffer:  # another one would write to the same folder
        return []
    lacking = [key for key, there, here in _attributes(method, _resumed(method, *state)) if not _same(there, here)]
    rule = "is not in what state() says: a resumed run begins it anew, and is another unless nothing depends on it"
    return [str(broken("method", name, f"'{key}' {rule}")) for key in lacking]


def _resumed(method: Method, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Method:
    """What goes on from this state in another process."""
    listener = method.channel.when_forgotten
    try:
        with torch.random.fork_rng(devices=[]):
            other = type(method)(method.context)
            taken = {key: array.copy() for key, array in arrays.items()}
            other.load_state(taken, parse(json_text(dict(values)).encode()))
            compare(other.state()[0], taken)
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, EcoFedError) as error:
        what = f"load_state does not take back what state() says ({type(error).__name__}: {error})"
        raise broken("method", method.config.method, f"{what}; a run could not be resumed") from error
    finally:
        method.channel.when_forgotten = listener
    return other


def _misfit(state: Any) -> str:
    """Why no checkpoint can hold it; empty: one can."""
    if not isinstance(state, tuple) or len(state) != 2 or not all(isinstance(part, Mapping) for part in state):
        return f"state returns {kind_of(state)}; it must return two: arrays by name, and values by name"
    for name, array in state[0].items():
        if not isinstance(name, str) or not isinstance(array, np.ndarray):
            return f"state has {name!r} among its arrays, which is {kind_of(array)}; it must be a numpy array"
    return next(_not_json("", state[1]), "")


def _not_json(name: str, value: Any) -> Iterator[str]:
    """What would come back as something else, or not at all."""
    at = f"'{name}' among its values" if name else "values"
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"state has {at} by {key!r}, which is {kind_of(key)}; keys must be text, as they come back so"
                return
            yield from _not_json(f"{name}/{key}" if name else key, item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _not_json(name, item)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"state has {at}, which is {value}; numbers must be finite"
    elif value is not None and not isinstance(value, (str, int, float)):
        yield f"state has {at}, which is {kind_of(value)}; it must be what JSON has, or go to the arrays"


def _attributes(method: Method, other: Method) -> Iterator[tuple[str, Any, Any]]:
    """What both have of their own, by name; ``...`` where the other one has none."""
    for name, value in vars(method).items():
        if name not in _GIVEN and not isinstance(inspect.getattr_static(type(method), name, None), cached_property):
            yield name, value, getattr(other, name, ...)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, as far as can be told: of objects that keep their content to themselves it is
    taken for granted."""
    one, other = _content(one), _content(other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, (str, bytes, int, float, set, frozenset, type(None))):
        return bool(one == other)
    return type(one) is type(other)


def _content(value: Any) -> Any:
    """Of an object that can tell it: tensors, networks, optimisers, generators of random numbers."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return value.get_state().numpy()
    state_dict = getattr(value, "state_dict", None)
    return state_dict() if callable(state_dict) and not isinstance(value, type) else value
