"""From a network, a cut and a front to what the five methods compute and send."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch

from ecofed.config.methods import facts_of
from ecofed.config.problem import ModelConfig
from ecofed.config.registry import forget_when_new
from ecofed.config.schema import Config
from ecofed.costs.workload import EarlyFront, Layer, Segment, Workload, code_size, early_row_bytes
from ecofed.models.bottleneck import add_expansion, is_linear
from ecofed.models.fronts import build_front, build_middle
from ecofed.models.own_networks import check_shape, is_own
from ecofed.models.partition import partition
from ecofed.models.registry import build_model, input_side
from ecofed.planning.counting import CountedNetwork, count_segment
from ecofed.wire import FrontBundle
from ecofed.wire.sizes import Shapes, bundle_size

T = TypeVar("T")


def counted_network(config: Config, in_channels: int, classes: int) -> CountedNetwork:
    """The configured network, counted once a process."""
    network: CountedNetwork = _counted(config.model, in_channels, classes, config.normalisation)
    return network


@forget_when_new
@lru_cache(maxsize=8)
def _counted(config: ModelConfig, in_channels: int, classes: int, normalisation: str) -> CountedNetwork:
    with torch.device("meta"):
        model = build_model(config, in_channels=in_channels, classes=classes, normalisation=normalisation)
    network = CountedNetwork(model, in_channels, input_side(config))
    if is_own(config.name):
        check_shape(network.output_shape, config, images=2, classes=classes)
    return network


def build_workload(
    config: Config,
    network: CountedNetwork,
    cut: str,
    *,
    in_channels: int,
    classes: int,
    bundle: FrontBundle,
    device_cuts: Sequence[str] = (),
) -> Workload:
    """What the methods compute and send when ``network`` is cut after ``cut`` and ecofed's front is ``bundle``.

    ``device_cuts``: where ecofed's devices stop, dealt to them; none: all of them at ``cut``.
    The bundle's arrays may stand for themselves (:func:`stand_in_bundle`): only their shapes matter.
    """
    front, back, shape_CHW = network.halves(cut)
    frozen_front = front
    if bundle.expansion:
        frozen_front = count_segment(
            build_front(bundle, config.normalisation), (in_channels, bundle.input_size, bundle.input_size)
        )
        narrow, channels = bundle.weights["bottleneck.conv.weight"].shape[:2]
        linear = is_linear(bundle.expansion)
        back = _expanded_back(
            config.model, cut, in_channels, classes, narrow, channels, linear, bundle.activation_shape
        )
    facts, int8 = facts_of(config.method), config.front.precision != "full"
    row_bytes, scaled_batches = code_size(config.codec, bundle.activation_shape)
    whole = replace(bundle, int8=bundle.int8 or int8)
    early = {name: _early_front(config, network, name, whole) for name in dict.fromkeys(device_cuts) if name != cut}
    return Workload(
        whole=network.whole(),
        front=front,
        back=back,
        auxiliary=_auxiliary(math.prod(shape_CHW), classes),
        frozen_front=frozen_front,
        activation_shape=shape_CHW,
        upload_shape=bundle.activation_shape,
        bundle_bytes=bundle_size(whole.for_device(facts.limits_sent(config, bundle.upper))),
        row_bytes=row_bytes,
        scaled_batches=scaled_batches,
        classes=classes,
        early=[early.get(name) for name in device_cuts] or (None,),
        coded=facts.coded(config) is not None,
    )


def _early_front(config: Config, network: CountedNetwork, cut: str, bundle: FrontBundle) -> EarlyFront:
    """What a device computes and sends that stops at ``cut``, and what is then left of the bundle's front."""
    front, _, shape_CHW = network.halves(cut)
    settings = config.ecofed
    upper = {} if settings.lossless_early else {settings.early_bits: np.broadcast_to(np.float32(1), shape_CHW[:1])}
    first_part = bundle.stopping_at(cut, _owned(bundle.weights, front), shape_CHW, upper)
    if bundle.expansion:
        middle = count_segment(build_middle(bundle, cut, config.normalisation), shape_CHW)
    else:
        middle = network.between(cut, bundle.cut)
    return EarlyFront(
        cut=cut,
        front=front,
        middle=middle,
        bundle_bytes=bundle_size(first_part),
        row_bytes=early_row_bytes(settings, shape_CHW),
    )


def _owned(shapes: Mapping[str, T], front: Segment) -> dict[str, T]:
    """Of these entries of a network's state, those of the front's layers, with statistics that it may not use."""
    owners = {name.rpartition(".")[0] for name in front.tensors}
    return {name: value for name, value in shapes.items() if name.rpartition(".")[0] in owners}


def stand_in_bundle(config: Config, network: CountedNetwork, cut: str, in_channels: int) -> FrontBundle:
    """A bundle of the shape and length that a random front for this cut would have; its values mean nothing."""
    front, _, shape_CHW = network.halves(cut)
    # A bundle always carries statistics, also where the run does not use them.
    normalisation = "group" if config.normalisation == "group" else "frozen"
    shapes = _owned(_all_shapes(config.model, in_channels, normalisation), front)
    return FrontBundle(
        model=config.model.name,
        width=config.model.width,
        cut=cut,
        in_channels=in_channels,
        input_size=input_side(config.model),
        mean=(0.5,) * in_channels,
        std=(0.25,) * in_channels,
        activation_shape=shape_CHW,
        weights=_blank(shapes),
        upper=_blank_limits(shape_CHW[0]),
        normalisation=normalisation,
    )


@lru_cache(maxsize=4)
def _all_shapes(model: ModelConfig, in_channels: int, normalisation: str) -> Shapes:
    """Shapes of the whole network's state, by name, without what does not travel (indices and masks)."""
    with torch.device("meta"):
        whole = build_model(model, in_channels=in_channels, classes=2, normalisation=normalisation)
    state = whole.state_dict().items()
    return {name: tuple(value.shape) for name, value in state if value.is_floating_point()}


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


@forget_when_new
@lru_cache(maxsize=16)
def _expanded_back(
    config: ModelConfig,
    cut: str,
    in_channels: int,
    classes: int,
    narrow: int,
    channels: int,
    linear: bool,
    shape_CHW: tuple[int, int, int],
) -> Segment:
    with torch.device("meta"):
        model = build_model(config, in_channels=in_channels, classes=classes, normalisation="frozen")
    back = partition(model, cut, checked=False).back
    add_expansion(back, narrow, channels, linear=linear)
    return count_segment(back, shape_CHW)
