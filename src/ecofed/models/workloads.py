"""From a network, a cut and a front to what the five methods compute and send."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from ecofed.config import Config, ModelConfig
from ecofed.costs.workload import Layer, Segment, Workload, code_size
from ecofed.models.bottleneck import add_expansion
from ecofed.models.counting import CountedNetwork, count_segment
from ecofed.models.fronts import build_front
from ecofed.models.partition import partition
from ecofed.models.registry import build_model
from ecofed.wire import FrontBundle
from ecofed.wire.sizes import Shapes, bundle_size


def counted_network(config: Config, in_channels: int, classes: int) -> CountedNetwork:
    """The configured network, counted."""
    with torch.device("meta"):
        model = build_model(config.model, in_channels=in_channels, classes=classes, normalisation=config.normalisation)
    return CountedNetwork(model, in_channels)


def build_workload(
    config: Config, network: CountedNetwork, cut: str, *, in_channels: int, classes: int, bundle: FrontBundle
) -> Workload:
    """What the methods compute and send when ``network`` is cut after ``cut`` and ecofed's front is ``bundle``.

    The bundle's arrays may stand for themselves (:func:`stand_in_bundle`): only their shapes matter.
    """
    front, back, shape_CHW = network.halves(cut)
    frozen_front = front
    if bundle.expansion:
        frozen_front = count_segment(
            build_front(bundle, config.normalisation), (in_channels, bundle.input_size, bundle.input_size)
        )
        back = _expanded_back(config, cut, in_channels, classes, bundle)
    bits, int8 = config.ecofed.limit_bits, config.ecofed.front_precision == "int8"
    row_bytes, scaled_batches = code_size(config.ecofed, bundle.activation_shape)
    return Workload(
        whole=network.whole(),
        front=front,
        back=back,
        auxiliary=_auxiliary(math.prod(shape_CHW), classes),
        frozen_front=frozen_front,
        activation_shape=shape_CHW,
        upload_shape=bundle.activation_shape,
        bundle_bytes=bundle_size(replace(bundle, int8=bundle.int8 or int8).for_device(bits)),
        row_bytes=row_bytes,
        scaled_batches=scaled_batches,
        classes=classes,
    )


def stand_in_bundle(config: Config, network: CountedNetwork, cut: str, in_channels: int) -> FrontBundle:
    """A bundle of the shape and length that a random front for this cut would have; its values mean nothing."""
    front, _, shape_CHW = network.halves(cut)
    # A bundle always carries statistics, also where the run does not use them.
    normalisation = "group" if config.normalisation == "group" else "frozen"
    owners = {name.rpartition(".")[0] for name in front.tensors}
    shapes = {
        name: shape
        for name, shape in _all_shapes(config.model, in_channels, normalisation).items()
        if name.rpartition(".")[0] in owners
    }
    return FrontBundle(
        model=config.model.name,
        width=config.model.width,
        cut=cut,
        in_channels=in_channels,
        mean=(0.5,) * in_channels,
        std=(0.25,) * in_channels,
        activation_shape=shape_CHW,
        weights=_blank(shapes),
        upper=_blank_limits(shape_CHW[0]),
        normalisation=normalisation,
    )


@lru_cache(maxsize=4)
def _all_shapes(model: ModelConfig, in_channels: int, normalisation: str) -> Shapes:
    """Shapes of the whole network's state, by name."""
    with torch.device("meta"):
        whole = build_model(model, in_channels=in_channels, classes=2, normalisation=normalisation)
    return {name: tuple(value.shape) for name, value in whole.state_dict().items()}


def _blank(shapes: Shapes) -> Mapping[str, np.ndarray]:
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


def _blank_limits(channels: int) -> Mapping[int, np.ndarray]:
    return {bits: np.broadcast_to(np.float32(1), (channels,)) for bits in range(1, 9)}


def _auxiliary(entries: int, classes: int) -> Segment:
    """The linear classifier; its input needs a gradient, for the front below it."""
    shapes = {"linear.weight": (classes, entries), "linear.bias": (classes,)}
    layer = Layer(
        name="auxiliary",
        flops=2 * entries * classes,
        parameters=(entries + 1) * classes,
        input_entries=entries,
        output_entries=classes,
        saved_bytes=0,
    )
    return Segment(layers=(layer,), live_bytes=4 * (entries + classes), tensors=shapes, parameters=shapes)


def _expanded_back(config: Config, cut: str, in_channels: int, classes: int, bundle: FrontBundle) -> Segment:
    with torch.device("meta"):
        model = build_model(config.model, in_channels=in_channels, classes=classes, normalisation="frozen")
    back = partition(model, cut).back
    narrow, channels = bundle.weights["bottleneck.conv.weight"].shape[:2]
    add_expansion(back, narrow, channels)
    return count_segment(back, bundle.activation_shape)
