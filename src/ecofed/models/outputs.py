"""What a network makes of a batch, in evaluation mode, and of what shape that is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecofed.errors import ModelError


def activation_shape(front: nn.Module, in_channels: int, size: int = 32) -> tuple[int, int, int]:
    """Channels, height and width of the front's output for one ``size`` x ``size`` image.

    Raises:
        ModelError: it has others.
    """
    device = next((value.device for value in front.parameters()), torch.device("cpu"))
    shape = output_of(front, torch.zeros(1, in_channels, size, size, device=device)).shape
    if len(shape) != 4:
        raise ModelError(
            f"the front's output for one image has shape {tuple(shape[1:])}, not channels x height x width; cut earlier"
        )
    return int(shape[1]), int(shape[2]), int(shape[3])


def output_of(module: nn.Module, x: Tensor) -> Tensor:
    """Of a module in evaluation mode, whose own mode stays as it is.

    Raises:
        ModelError: it does not run on such a batch, or returns something else than a tensor.
    """
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            output = module(x)
    except Exception as error:  # the user's code, which may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the network does not run on an input of shape {tuple(x.shape)} ({reason})") from error
    finally:
        module.train(was_training)
    if not isinstance(output, Tensor):
        raise ModelError(f"the network returns a {type(output).__name__}; it must return one tensor")
    return output
