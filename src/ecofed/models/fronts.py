"""From a front bundle to a front that runs, and the auxiliary classifier that local-loss methods hang on one."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ecofed.config.problem import MOST_HEAD_WIDTH, ModelConfig
from ecofed.config.registry import forget_when_new
from ecofed.errors import ModelError
from ecofed.models.arrays import load_arrays
from ecofed.models.blank import blank
from ecofed.models.bottleneck import add_bottleneck
from ecofed.models.normalisation import FrozenBatchNorm2d, set_normalisation
from ecofed.models.partition import between, partition
from ecofed.models.registry import build_model, keep_constants
from ecofed.wire.bundle import FrontBundle


def build_front(bundle: FrontBundle, normalisation: str) -> nn.Module:
    """The bundle's front, frozen and in evaluation mode.

    ``normalisation="batch"`` ignores the bundle's statistics and normalises by each batch (the paper's front).
    The back of the same network is never given memory: the whole is built on the meta device.

    Raises:
        ModelError: the bundle's weights do not fit its own description.
    """
    return _built(bundle, normalisation, None)


def build_middle(bundle: FrontBundle, first: str, normalisation: str) -> nn.Module:
    """What is left of the bundle's front for a device that stops after layer ``first``; as :func:`build_front`.

    Raises:
        ModelError: the weights do not fit, or ``first`` is not a layer before the front's last.
    """
    return _built(bundle, normalisation, first)


def _built(bundle: FrontBundle, normalisation: str, after: str | None) -> nn.Module:
    if "group" in (bundle.normalisation, normalisation) and bundle.normalisation != normalisation:
        raise ModelError(f"a front with {bundle.normalisation} normalisation cannot run as {normalisation}")
    config = config_of(bundle, bundle.cut, normalisation)
    narrowing = bundle.weights.get("bottleneck.conv.weight")
    # Without memory until it is known that the weights fit: a width is easily said.
    with torch.device("meta"):
        front = _unfilled(config, bundle.in_channels, bundle.cut, normalisation, after)
        if narrowing is not None and narrowing.ndim == 4:
            add_bottleneck(front, channels=narrowing.shape[1], narrow=narrowing.shape[0])
            front = set_normalisation(front, normalisation)
    weights = dict(bundle.weights)
    if normalisation == "batch":
        weights = {name: array for name, array in weights.items() if not name.endswith(("running_mean", "running_var"))}
    state = _sizes(front)
    if after is not None:
        weights = {name: array for name, array in weights.items() if name in state}
    if wrong := _unlike(state, weights):
        raise ModelError(
            f"the front's weight '{wrong[:100]}' has shape {_shape(weights, wrong)}, not {state.get(wrong)}"
        )
    front = blank(front)
    keep_constants(front, config, bundle.in_channels)
    load_arrays(front, weights)
    return front.requires_grad_(False).eval()


def config_of(bundle: FrontBundle, cut: str, normalisation: str) -> ModelConfig:
    """The network that a bundle's front is of, up to ``cut``.

    Its head matters to no front but one that is cut within it, or whose plug-in has ``model.head_width`` decide more:
    then the first weight that another width does not fit has it.
    """
    least = ModelConfig(name=bundle.model, width=bundle.width, cut=bundle.cut, head_width=1)
    sizes = _sizes(_cut(least, bundle.in_channels, bundle.cut, normalisation, None))
    known = {name: bundle.weights[name] for name in sizes if name in bundle.weights}
    wrong = _unlike(sizes, known) if known.keys() == sizes.keys() else ""
    width = known[wrong].shape[:1] if wrong else ()
    if not width or not 1 <= width[0] <= MOST_HEAD_WIDTH:
        width = (1,)
    return replace(least, cut=cut, head_width=width[0])


def _sizes(front: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of what a bundle has: everything but indices and masks, which are constants of the network."""
    return {name: tuple(value.shape) for name, value in front.state_dict().items() if value.is_floating_point()}


def _unlike(sizes: Mapping[str, tuple[int, ...]], weights: Mapping[str, Any]) -> str:
    """The first name whose array is of another shape, or missing on one side; empty if there is none."""
    return next((name for name in (*sizes, *weights) if sizes.get(name) != _shape(weights, name)), "")


def with_precision(bundle: FrontBundle, precision: str) -> FrontBundle:
    """As ``front.precision`` says: ``full``, ``int8`` or ``compact``."""
    if precision == "full":
        return bundle
    return (compact(bundle) if precision == "compact" else bundle).with_int8_weights()


def compact(bundle: FrontBundle) -> FrontBundle:
    """The front with a scale and an offset for each channel, in 16 bits each, instead of four float32 numbers.

    Its constant statistics become means of 0 and variances of 1, which compress to nothing.

    Raises:
        ModelError: the weights do not fit.
    """
    if bundle.packed:
        return bundle
    weights = {name: np.asarray(array, np.float32) for name, array in bundle.weights.items()}
    for name, layer in build_front(bundle, bundle.normalisation).named_modules():
        if isinstance(layer, FrozenBatchNorm2d):
            weights |= {f"{name}.{kind}": array for kind, array in _settled(layer).items()}
    return replace(bundle, weights={name: _short(name, array) for name, array in weights.items()}, packed=True)


def _short(name: str, array: np.ndarray) -> np.ndarray:
    """Of a vector 16 significant bits of each offset, and of a scale what float16 holds, where that is close.

    Offsets of linear layers are large and cancel each other: rounded to float16 they cost three times what int8 does.
    """
    if array.ndim != 1:
        return array
    if not name.endswith(".bias"):
        with np.errstate(over="ignore"):
            half = array.astype(np.float16).astype(np.float32)
        if np.allclose(half, array, rtol=2**-10, atol=1e-6):
            return half
    bits = (np.ascontiguousarray(array).view(np.uint32) + np.uint32(0x80)) & np.uint32(0xFFFFFF00)
    short = bits.view(np.float32)
    return short if bool(np.isfinite(short).all()) else array


def _settled(layer: FrozenBatchNorm2d) -> dict[str, np.ndarray]:
    """Of a layer with a mean of 0 and a variance of 1 that does the same."""
    mean, var, weight, offset = (
        getattr(layer, kind).double() for kind in ("running_mean", "running_var", "weight", "bias")
    )
    slope = weight / torch.sqrt(var + layer.eps)
    settled = {
        "running_mean": torch.zeros_like(mean),
        "running_var": torch.ones_like(var),
        "weight": slope * math.sqrt(1 + layer.eps),
        "bias": offset - mean * slope,
    }
    return {kind: tensor.numpy().astype(np.float32) for kind, tensor in settled.items()}


def empty_front(
    config: ModelConfig, in_channels: int, cut: str, normalisation: str, *, after: str | None = None
) -> nn.Module:
    """A front (of it, what follows layer ``after``) whose values are still to be loaded; the back takes no memory."""
    front = blank(_cut(config, in_channels, cut, normalisation, after))
    keep_constants(front, config, in_channels)
    return front


def _unfilled(config: ModelConfig, in_channels: int, cut: str, normalisation: str, after: str | None) -> nn.Module:
    """As :func:`empty_front`, on the meta device. Cutting a network takes longer than copying what was cut."""
    copied: nn.Module = copy.deepcopy(_cut(config, in_channels, cut, normalisation, after))
    return copied


@forget_when_new
@lru_cache(maxsize=16)
def _cut(config: ModelConfig, in_channels: int, cut: str, normalisation: str, after: str | None) -> nn.Module:
    with torch.device("meta"):
        whole = build_model(config, in_channels=in_channels, classes=2, normalisation=normalisation)
    # Nothing is run: the first batch on the meta device would load much of PyTorch that is needed for nothing else.
    return partition(whole, cut, checked=False).front if after is None else between(whole, after, cut)


def _shape(values: Mapping[str, Any], name: str) -> tuple[int, ...] | None:
    return tuple(values[name].shape) if name in values else None


class AuxiliaryClassifier(nn.Module):
    """One linear layer on the flattened activation (lgl and fedgkt)."""

    def __init__(self, shape_CHW: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(shape_CHW), classes)

    def forward(self, h_NCHW: Tensor) -> Tensor:
        output: Tensor = self.linear(h_NCHW.flatten(1))
        return output


@lru_cache(maxsize=8)
def front_by_bytes(bundle: bytes, normalisation: str) -> tuple[nn.Module, FrontBundle]:
    """Decode, build and try once per process and content: simulated devices with the same front share a read-only copy.

    Raises:
        WireError: not a bundle. ModelError: a front that does not run, or not as it says.
    """
    decoded = FrontBundle.decode(bundle)
    front = build_front(decoded, normalisation)
    blank_NCHW = torch.zeros(2, decoded.in_channels, decoded.input_size, decoded.input_size)
    try:
        with torch.no_grad():
            shape = tuple(front(blank_NCHW).shape[1:])
    except (RuntimeError, ValueError) as error:  # images that are too small for its pools, say
        raise ModelError(f"the front cannot run ({(str(error).splitlines() or [''])[0][:200]})") from error
    if shape != decoded.activation_shape:
        raise ModelError(f"the front's activation has shape {shape}; its bundle says {decoded.activation_shape}")
    return front, decoded
