"""Any convolutional network of the package timm (``model.name = "timm:mobilenetv3_small_100"``), made fit for cutting.

timm's networks fuse layers that are apart here: normalisation with its activation function, padding with convolution.
They are taken apart, so that normalisation can be set and every layer is one that can be counted, cut at and exported.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ecofed.errors import ConfigError, MissingExtraError, ModelError, nearest
from ecofed.models.normalisation import is_norm
from ecofed.models.same_conv import SameConv2d
from ecofed.models.stand_in import importable

PREFIX = "timm:"
#: An architecture of timm, and which of its weights. Not its other sources (``hf-hub:``, ``local-dir:``): a bundle that
#: arrives from elsewhere may name a network, too.
_NAME = re.compile(r"timm:[a-z0-9_]{1,80}(\.[a-z0-9_]{1,80})?")
#: Of the default cut: what comes before it is small, and sees enough of the picture.
_DEFAULT_STRIDE = 8


class TimmSettings(NamedTuple):
    """What timm says about the published weights of a network."""

    cut: str
    """Last layer at a stride of 8."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: int
    """Side of the pictures that it was trained on."""
    licence: str


def timm_network(name: str, in_channels: int, classes: int, width: float) -> nn.Module:
    """A network of timm with random weights, on the current device.

    Raises:
        ConfigError: no such network, or a ``width`` other than 1. MissingExtraError: timm is not installed.
        ModelError: it computes with what is neither a parameter nor normalisation; the message names it.
    """
    if width != 1:
        raise ConfigError(f"model.width = {width:g}: the networks of timm have their own widths; use model.width=1")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _create(name, in_chans=in_channels, num_classes=classes)
    return separated(model)


def separated(model: nn.Module) -> nn.Module:
    """A network of timm with its fused layers taken apart, in place; values and what it computes stay the same.

    Raises:
        ModelError: normalisation by groups, or a buffer that is not of a normalisation layer.
    """
    with torch.device("meta"):  # new layers get the old ones' values, and draw none
        for parent in list(model.modules()):
            for name, child in list(parent.named_children()):
                setattr(parent, name, _separated(child))
    for module in model.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    if any(isinstance(module, nn.GroupNorm) for module in model.modules()):
        raise ModelError(f"{type(model).__name__} normalises by groups, which cannot be used here")
    owners = [(path, module) for path, module in model.named_modules() if not is_norm(module)]
    buffers = [f"{path}.{name}" for path, module in owners for name, _ in module.named_buffers(recurse=False)]
    if buffers:
        raise ModelError(f"{type(model).__name__} keeps a table in '{buffers[0]}': such networks cannot be used here")
    return model


def timm_settings(name: str) -> TimmSettings:
    """Cut and pre-processing of a network; errors as for :func:`timm_network`."""
    return _settings(name)


@lru_cache(maxsize=8)
def _settings(name: str) -> TimmSettings:
    with torch.device("meta"):
        model = _create(name)
    stages = model.feature_info
    early = [stage for stage in stages if stage["reduction"] <= _DEFAULT_STRIDE] or [stages[0]]
    published = model.pretrained_cfg
    return TimmSettings(
        cut=str(early[-1]["module"]),
        mean=tuple(map(float, published["mean"])),
        std=tuple(map(float, published["std"])),
        input_size=int(published["input_size"][-1]),
        licence=str(published.get("license") or "licence unknown"),
    )


def published_timm_network(name: str) -> nn.Module:
    """The network with its published weights, which timm fetches (from its cache if it did before).

    Raises:
        ModelError: they cannot be had; says why. Others as for :func:`timm_network`.
    """
    try:
        return separated(_create(name, pretrained=True))
    except (ConfigError, MissingExtraError, ModelError):
        raise
    except Exception as error:  # the hub's client and timm raise many kinds
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the published weights of {name} cannot be had ({type(error).__name__}: {reason}); give a file of them "
            "with model.weights=FILE, or start from random ones with model.weights=none"
        ) from error


def filled_timm_network(name: str, arrays: Mapping[str, np.ndarray], source: str) -> nn.Module:
    """The network with weights of its own names (timm's, or ours after :func:`separated`); those of its last layer may
    be missing, or for other classes, and are then random.

    Raises:
        ModelError: one is missing or has another shape; the message names it and the ``source``. Others as for
            :func:`timm_network`.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = _create(name)
    last = str(model.pretrained_cfg.get("classifier") or "")
    if not arrays.keys() & {name for name, _ in model.named_parameters() if "norm" in name or "bn" in name}:
        model = separated(model)
    state = model.state_dict()
    for key, value in state.items():
        fits = key in arrays and arrays[key].shape == tuple(value.shape)
        if fits:
            value.copy_(torch.from_numpy(arrays[key]))
        elif value.is_floating_point() and not (last and key.startswith(f"{last}.")):
            found = f"has '{key}' of shape {arrays[key].shape}" if key in arrays else f"has no '{key}'"
            raise ModelError(f"{source} {found}{nearest(key, arrays)}: these are not the weights of {name}")
    return separated(model)


def _create(name: str, **options: Any) -> Any:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"model.name = {name[:100]!r}: must be '{PREFIX}' and the name of one of timm's networks")
    timm = sys.modules.get("timm") or _timm(name)
    own = name.removeprefix(PREFIX)
    if not timm.is_model(own.partition(".")[0]):
        raise ConfigError(f"model.name = {name!r}: timm has no such network{nearest(own, timm.list_models())}")
    return timm.create_model(own, **{"pretrained": False, **options})


def _timm(name: str) -> Any:
    try:
        with importable("torchvision"):  # timm's data pipeline imports it; its networks do not need it
            import timm
    except ImportError:
        raise MissingExtraError("timm", "timm", f"the network {name}") from None
    return timm


def _separated(layer: nn.Module) -> nn.Module:
    if type(layer).__name__ in ("Conv2dSame", "Conv2dSameExport") and isinstance(layer, nn.Conv2d):
        return _same_conv(layer)
    activated = [part for part in ("drop", "act") if isinstance(getattr(layer, part, None), nn.Module)]
    if not (isinstance(layer, nn.BatchNorm2d) and activated):
        return layer
    parts = OrderedDict(norm=_plain_norm(layer), **{part: layer.get_submodule(part) for part in activated})
    return nn.Sequential(OrderedDict((name, part) for name, part in parts.items() if type(part) is not nn.Identity))


def _plain_norm(layer: nn.Module) -> nn.Module:
    """The normalisation of a fused layer; it gets the layer's own parameters and buffers."""
    assert isinstance(layer, nn.BatchNorm2d)
    plain = nn.BatchNorm2d(layer.num_features, eps=layer.eps, affine=layer.affine)
    plain._parameters.update(layer._parameters)
    plain._buffers.update(layer._buffers)
    return plain.train(layer.training)


def _same_conv(layer: nn.Conv2d) -> SameConv2d:
    plain = SameConv2d(layer.in_channels, layer.out_channels, layer.kernel_size[0], groups=layer.groups)
    plain.kernel_size, plain.stride, plain.dilation = layer.kernel_size, layer.stride, layer.dilation
    plain._parameters.update(layer._parameters)
    return plain.train(layer.training)
