"""Networks of the user's own, which may be anything: what must be true of them before a run begins."""

from __future__ import annotations

import torch
from torch import nn

from ecofed.config.given import MODULE
from ecofed.config.problem import ModelConfig
from ecofed.config.registry import networks
from ecofed.config.schema import Config
from ecofed.errors import ModelError
from ecofed.models.partition import Partition
from ecofed.models.registry import build_model


def is_own(name: str) -> bool:
    """Whether a network was given in Python or comes from a plug-in."""
    return name.startswith(MODULE) or name in networks()


@torch.no_grad()
def check_outputs(halves: Partition, config: ModelConfig, *, in_channels: int, side: int, classes: int) -> None:
    """Hold a network of the user's own against the data; built-in ones are made for them.

    Raises:
        ModelError: it gives another count of numbers an image than there are classes, or takes no such images.
    """
    if not is_own(config.name):
        return
    x_NCHW = torch.zeros(2, in_channels, side, side)
    try:
        output = halves.back.eval()(halves.front.eval()(x_NCHW))
    except Exception as error:  # the user's code, which may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"model.name = '{config.name}': does not take images of {in_channels}x{side}x{side} ({reason})"
        ) from error
    check_shape(tuple(output.shape), config, images=len(x_NCHW), classes=classes)


def check_front(front: nn.Module, config: Config, *, in_channels: int, classes: int) -> None:
    """Hold what devices would run of a plug-in's network against another network of the same function.

    Raises:
        ModelError: it is another front for another number of classes, or each time; then none can be made for it.
    """
    model = config.model
    if model.name not in networks():
        return
    with torch.device("meta"):
        other = build_model(model, in_channels=in_channels, classes=2, normalisation=config.normalisation)
    sizes = {name: tuple(value.shape) for name, value in other.named_parameters()}
    for name, value in front.named_parameters():
        if sizes.get(name) != tuple(value.shape):
            found = f"has shape {tuple(value.shape)} for {classes} classes and {sizes.get(name)} for 2"
            raise ModelError(
                f"model.name = '{model.name}': '{name}', which comes before the cut, {found}; what devices run must be "
                "the same for any data: let only layers after the cut depend on the classes, and none on chance"
            )


def check_shape(shape: tuple[int, ...], config: ModelConfig, *, images: int, classes: int) -> None:
    """Hold what a network of the user's own makes of so many images against the data.

    Raises:
        ModelError: it is not a row of numbers an image, or of another count of numbers than there are classes.
    """
    if len(shape) != 2 or shape[0] != images:
        raise ModelError(
            f"model.name = '{config.name}': {images} images give numbers of shape {shape}; it must give one row of "
            "numbers an image, one for each class"
        )
    if shape[1] != classes:
        raise ModelError(
            f"model.name = '{config.name}': gives {shape[1]} numbers an image, the data have {classes} classes; its "
            f"last layer must have {classes} outputs"
        )
