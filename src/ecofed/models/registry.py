"""The built-in networks by name. A new one is a file with a builder, and a line here."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn

from ecofed.config.given import MODULE
from ecofed.config.problem import ModelConfig
from ecofed.config.registry import broken, forget_when_new
from ecofed.config.registry import networks as plugin_networks
from ecofed.config.registry.contract import kind_of
from ecofed.errors import ConfigError, nearest
from ecofed.models.alexnet import alexnet
from ecofed.models.blank import blank
from ecofed.models.blocks import Width
from ecofed.models.efficientnet import efficientnet_lite0
from ecofed.models.given import given_cut, given_module
from ecofed.models.initialisation import constants_of
from ecofed.models.lenet import lenet
from ecofed.models.normalisation import is_norm, reset_norm, set_normalisation
from ecofed.models.own_layers import check_layers
from ecofed.models.resnet import resnet9
from ecofed.models.shortened import shortened
from ecofed.models.timm_networks import PREFIX, timm_network, timm_settings
from ecofed.models.vgg import vgg11

#: Builders take (in_channels, classes, width, head_width). Every built-in network takes 32x32 images, names its parts
#: ``block1``, ``block2``, ..., ``head``, and its last layer ``head.classifier``.
Builder = Callable[[int, int, Width, int | None], nn.Module]

MODELS: dict[str, Builder] = {
    "vgg11": vgg11,
    "resnet9": resnet9,
    "alexnet": alexnet,
    "lenet": lenet,
    "efficientnet-lite0": efficientnet_lite0,
}
_CUTS = {"efficientnet-lite0": "block6"}
"""Default cuts of those that are not cut after their second block: here after the first at a stride of 16."""
SIZE = 32
"""Side of the pictures of the paper's networks."""
_IMAGE_SIZES = {"efficientnet-lite0": 128}
"""Of built-in networks for photographs: unless told otherwise."""


def model_names() -> list[str]:
    """Names that :func:`build_model` knows, besides ``timm:NAME``."""
    return [*MODELS, *plugin_networks()]


def build_model(config: ModelConfig, *, in_channels: int, classes: int, normalisation: str) -> nn.Module:
    """The network of ``config`` with zeroed weights, on the CPU or, under ``torch.device("meta")``, without memory.

    Nothing is drawn and no global generator is touched: call :func:`ecofed.models.initialise` or load weights.

    Raises:
        ConfigError: an unknown model or normalisation, or a plug-in's function that makes no network.
        ModelError: layers that cannot be trained here (:mod:`ecofed.models.own_layers`).
    """
    if config.name.startswith(PREFIX):  # not built on the meta device first: its layers' own starts are kept
        network = timm_network(config.name, in_channels, classes, config.width)
        network = set_normalisation(_with_own_back(network, config, in_channels, classes), normalisation)
        check_layers(network, config.name)
        return network
    if config.name.startswith(MODULE):
        model = set_normalisation(given_module(config.name), normalisation)
        check_layers(model, config.name)
        return model if torch.get_default_device().type == "meta" else _zeroed(model, config, in_channels)
    plugin = plugin_networks().get(config.name)
    if plugin is None and config.name not in MODELS:
        raise ConfigError(_unknown(config.name))
    on_meta = torch.get_default_device().type == "meta"
    with torch.device("meta"):
        if plugin is None:
            model = MODELS[config.name](in_channels, classes, _width_of(config), config.head_width)
        else:
            model = _built(config, in_channels, classes)
        model = _with_own_back(model, config, in_channels, classes)
        model = set_normalisation(model, normalisation)
    if plugin is not None:
        check_layers(model, config.name)
    return model if on_meta else _zeroed(model, config, in_channels)


def check_back_width(config: ModelConfig) -> None:
    """Raise :class:`ConfigError` where ``model.back_width`` finds nothing after the cut that has a width."""
    if config.back_width is not None and not narrows(config):
        cut = config.cut or default_cut(config.name)
        raise ConfigError(
            f"model.back_width = {config.back_width:g}: nothing after the cut '{cut}' of {config.name} has a width of "
            "its own; cut earlier, or leave the key out"
        )


def narrows(config: ModelConfig) -> bool:
    """Whether ``model.back_width`` changes anything in this network, cut as it is."""
    if config.name not in ModelConfig.NARROWED:
        return False
    asked: set[str] = set()

    def width(part: str) -> float:
        asked.add(part)
        return config.width

    with torch.device("meta"):
        MODELS[config.name](3, 2, width, config.head_width)
    return any(_after(part, config) for part in asked)


def _width_of(config: ModelConfig) -> Width:
    if (back_width := config.back_width) is None:
        return lambda _: config.width
    return lambda part: back_width if _after(part, config) else config.width


def _after(part: str, config: ModelConfig) -> bool:
    """Whether a part is after the one that the cut is in: "block3" is after "block2", the head after all others."""
    return part == "head" or part > (config.cut or default_cut(config.name)).partition(".")[0]


def _with_own_back(model: nn.Module, config: ModelConfig, in_channels: int, classes: int) -> nn.Module:
    if config.back == "rest" or not config.is_backbone:
        return model
    return shortened(model, config.cut or default_cut(config.name), in_channels, classes)


def default_cut(name: str) -> str:
    """The layer after which a network is cut unless told otherwise.

    Raises:
        ConfigError: an unknown model.
    """
    if name.startswith(PREFIX):
        return timm_settings(name).cut
    if name.startswith(MODULE):
        return given_cut(name)
    plugin = plugin_networks().get(name)
    if plugin is not None:
        return plugin.cut
    if name not in MODELS:
        raise ConfigError(_unknown(name))
    return _CUTS.get(name, "block2")


def image_size(config: ModelConfig) -> int | None:
    """Side of the pictures that the network takes; ``None``: 32x32 as the paper's, whatever proportions they had.

    Raises:
        ConfigError: an unknown model, or one that takes no pictures of the size that is asked for.
    """
    default_cut(config.name)
    plugin = plugin_networks().get(config.name)
    if config.name.startswith(PREFIX):
        own: int | None = timm_settings(config.name).input_size
    else:
        own = _IMAGE_SIZES.get(config.name) if plugin is None else plugin.image_size
    if own is not None:
        return config.image_size or own
    if config.image_size in (None, SIZE):
        return None
    raise ConfigError(
        f"model.image_size = {config.image_size}: {config.name} takes pictures of {SIZE}x{SIZE}; leave the key out, or "
        "choose a network for photographs"
    )


def input_side(config: ModelConfig) -> int:
    """Side of the network's input; errors as for :func:`image_size`."""
    return image_size(config) or SIZE


#: Families of networks that are not built in; one of their names is more likely theirs than a misspelt one of ours.
_OF_TIMM = re.compile(
    r"(resnet|vgg)(1[3-9]|[2-9]\d|1\d\d)|(mobile|dense|squeeze|reg|wide_?res)net\w*|(resn|convn)ext\w*|vit\w*"
)


def _unknown(name: str) -> str:
    names = model_names()
    meant = f" (did you mean 'timm:{name}'?)" if _OF_TIMM.fullmatch(name) else nearest(name, names)
    return f"model.name = {name!r}: must be timm:NAME or one of {', '.join(names)}{meant}"


def keep_constants(model: nn.Module, config: ModelConfig, in_channels: int) -> None:
    """Give a network (or a part of one) that somebody brought the values that no start draws and no message carries.

    Buffers, such as the mean that a network subtracts, and parameters of no layer, such as a gain that starts at 1. The
    networks of this package have none: on the meta device, where they are built, such values never exist.
    """
    constants = _constants(config, in_channels)
    if not constants:
        return
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name in own.keys() & constants.keys():
            own[name].copy_(constants[name])


def _constants(config: ModelConfig, in_channels: int) -> dict[str, Tensor]:
    if config.name.startswith(MODULE):
        return constants_of(given_module(config.name))
    return _plugin_constants(config, in_channels) if config.name in plugin_networks() else {}


def _built(config: ModelConfig, in_channels: int, classes: int) -> nn.Module:
    """A plug-in's network, as its function makes it."""
    network: object = plugin_networks()[config.name].build(in_channels, classes, config.width, config.head_width)
    if not isinstance(network, nn.Module):
        rule = f"its function returned {kind_of(network)}; it must return a torch.nn.Module"
        raise broken("network", config.name, rule)
    return network


@forget_when_new
@lru_cache(maxsize=16)
def _plugin_constants(config: ModelConfig, in_channels: int) -> dict[str, Tensor]:
    with torch.random.fork_rng(), torch.device("cpu"):
        torch.manual_seed(0)  # of what it draws itself; layers are drawn anew
        return constants_of(_built(config, in_channels, 2))


def _zeroed(model: nn.Module, config: ModelConfig, in_channels: int) -> nn.Module:
    model = blank(model, torch.get_default_device())
    with torch.no_grad():
        for module in model.modules():
            if is_norm(module):
                reset_norm(module)
            else:
                for parameter in module.parameters(recurse=False):
                    parameter.zero_()
    keep_constants(model, config, in_channels)
    return model
