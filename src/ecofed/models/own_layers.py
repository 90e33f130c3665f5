"""What the layers of networks from elsewhere must be, so that they start, travel and are saved as others do."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ecofed.errors import ModelError
from ecofed.models.initialisation import constants_of
from ecofed.models.normalisation import is_norm


def check_layers(model: nn.Module, name: str) -> None:
    """Hold a network, its normalisation set, against what the methods know to handle.

    Raises:
        ModelError: a layer keeps statistics that no message carries; or weights that are drawn are not to be trained.
    """
    for path, layer in model.named_modules():
        if isinstance(layer, _NormBase) and layer.running_mean is not None:
            raise ModelError(
                f"model.name = '{name}': the {type(layer).__name__} '{path}' keeps statistics that would not travel "
                "with the weights; use nn.BatchNorm2d with a scale and an offset, before Flatten, or nn.LayerNorm"
            )
    norms = {id(value) for layer in model.modules() if is_norm(layer) for value in layer.parameters(recurse=False)}
    frozen = {path for path, value in model.named_parameters() if not value.requires_grad and id(value) not in norms}
    drawn = sorted(frozen - constants_of(model).keys()) if frozen else []
    if drawn:
        raise ModelError(
            f"model.name = '{name}': '{drawn[0]}' is not to be trained (requires_grad is false), but starts from "
            "random numbers, as every layer's weights do; call requires_grad_(True) on the network"
        )
