"""Modules that were given in Python (``ecofed.run(model=...)``): networks that this process alone knows.

Each has a name that follows from its layers, what it computes with them, its buffers and plain attributes, and its
source text, which configurations and results record. So the same network, given again in another process, is the same,
and another is not mistaken for it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ecofed.config.given import MODULE
from ecofed.errors import ConfigError, ModelError
from ecofed.models.normalisation import is_norm
from ecofed.models.partition import code_of, possible_cuts
from ecofed.models.tracing import named_twice

_SIDE, _QUARTER = 32, 8
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_NO_CUT = (
    "it needs one whose output has a height and width and is all that the rest is computed from, and one behind it "
    "that can be trained"
)


class _Given(NamedTuple):
    module: nn.Module
    cut: str
    """Empty where it has no layer to cut after that one could propose."""


_given: dict[str, _Given] = {}


def give_module(module: nn.Module) -> str:
    """Make a network known. Returns what ``model.name`` has to be.

    Its layers count, not their weights: what starts pre-trained, and what is drawn, is as for any other network.
    Buffers, and parameters that are not a layer's, start as they are here.

    Raises:
        ModelError: it is none, cannot be traced, and so not be cut, or has lazy layers. ConfigError: it does not take
            32x32 images.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"a network must be a torch.nn.Module, not {type(module).__name__}")
    if lazy := next((part for part in module.modules() if _is_lazy(part)), None):
        raise ModelError(
            f"{type(module).__name__}: the sizes of its {type(lazy).__name__} are not known yet; call the network once "
            "on a picture, or give the layer its sizes"
        )
    own = copy.deepcopy(module).cpu()
    name = f"{MODULE}{type(module).__name__}-{_digest(own)}"
    known = _given.get(name)
    _given[name] = _Given(own, _default_cut(own) if known is None else known.cut)
    return name


def given_module(name: str) -> nn.Module:
    """A copy of the network that has this name.

    Raises:
        ConfigError: nobody gave it to this process.
    """
    return copy.deepcopy(_find(name).module).to(torch.get_default_device())


def given_cut(name: str) -> str:
    """Where it is cut unless told otherwise: after the first layer at a quarter of the picture's side whose outputs are
    none below zero; where there is none, after the first at that side, or the last whose output has a height and width.

    Raises:
        ConfigError: nobody gave it to this process; no layer has such an output.
    """
    module, cut = _find(name)
    if not cut:
        cuts = ", ".join(possible_cuts(module))
        advice = named_twice(module) or (f"say one with model__cut, of {cuts}" if cuts else _NO_CUT)
        raise ConfigError(f"model: {type(module).__name__} has no layer to cut after: {advice}")
    return cut


def was_trained(module: nn.Module) -> bool:
    """Whether its normalisation has seen batches: what it learned is not used."""
    buffers = dict(module.named_buffers())
    return any(int(value) > 0 for name, value in buffers.items() if name.endswith("num_batches_tracked"))


def _find(name: str) -> _Given:
    if name not in _given:
        raise ConfigError(
            f"model.name = '{name}': a network that was given in Python, to another process; give the same "
            "again (model= of a run, network= of evaluate, predict and load_model), or a name in a file "
            "(docs/how-to/own-model.md)"
        )
    return _given[name]


def _is_lazy(part: nn.Module) -> bool:
    return any(is_lazy(value) for value in (*part.parameters(recurse=False), *part.buffers(recurse=False)))


def _digest(module: nn.Module) -> str:
    shapes = [(key, tuple(value.shape)) for key, value in module.state_dict().items()]
    sources = sorted({_source(type(part)) for part in module.modules()})
    # The same layers may be put together in another way, by a flag or a function that is not of a class.
    computed = (code_of(module), list(_attributes(module)))
    return sha256(repr((str(module), shapes, sources, computed)).encode()).hexdigest()[:12]


def _attributes(module: nn.Module) -> Iterator[tuple[str, str, Any]]:
    """What the parts of a network know besides parameters and statistics: buffers, and numbers, text and tensors."""
    for path, part in module.named_modules():
        buffers = {} if is_norm(part) else dict(part.named_buffers(recurse=False))
        known = {name: value for name, value in vars(part).items() if name not in _OF_EVERY_MODULE}
        for name, value in sorted({**known, **buffers}.items()):
            if isinstance(value, Tensor | np.ndarray):
                array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
                yield path, name, (array.shape, str(array.dtype), sha256(array.tobytes()).hexdigest())
            elif _is_plain(value):
                yield path, name, value


def _is_plain(value: Any) -> bool:
    """Whether its text says all of it."""
    if isinstance(value, dict):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _source(cls: type) -> str:
    if cls.__module__.partition(".")[0] == "torch":
        return ""
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):  # typed at a prompt
        return ""


@torch.no_grad()
def _default_cut(module: nn.Module) -> str:
    cuts = possible_cuts(module)
    seen: dict[str, Tensor] = {}
    probe = copy.deepcopy(module).eval()
    for cut in cuts:
        probe.get_submodule(cut).register_forward_hook(lambda _, __, output, cut=cut: seen.update({cut: output}))
    convolution = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    channels = 3 if convolution is None else convolution.in_channels
    pictures = torch.linspace(-2, 2, 2 * channels * _SIDE * _SIDE).reshape(2, channels, _SIDE, _SIDE)
    try:
        probe(pictures)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"model: {type(module).__name__} does not take images of {channels}x{_SIDE}x{_SIDE} ({reason})"
        ) from None
    spatial = [cut for cut in cuts if cut in seen and seen[cut].ndim == 4]
    quarter = [cut for cut in spatial if 1 < seen[cut].shape[2] <= _QUARTER]
    plain = [cut for cut in quarter if bool((seen[cut] >= 0).all())]
    return next(iter(plain or quarter or spatial[-1:]), "")
