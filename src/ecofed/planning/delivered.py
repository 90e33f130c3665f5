"""How long the trained network will be when it is delivered, before it is trained: no weight changes that."""

from __future__ import annotations

from collections.abc import Sequence

from ecofed.activations import configured_codec
from ecofed.config.class_identity import identity
from ecofed.config.methods import facts_of
from ecofed.config.network_input import NetworkInput
from ecofed.config.schema import Config
from ecofed.data import Dataset
from ecofed.methods.pooled_end import with_its_end
from ecofed.models import build_model, partition
from ecofed.models.bottleneck import narrow
from ecofed.models.exported import network_file
from ecofed.models.registry import image_size, input_side
from ecofed.wire import FrontBundle


def delivered_bytes(
    config: Config, cut: str, bundle: FrontBundle, *, in_channels: int, classes: int, dataset: Dataset | None
) -> int:
    """Length of the ONNX file; 0 where nothing is delivered.

    Args:
        config: the run.
        cut: where the network is cut.
        bundle: the front that the run begins with.
        in_channels: of the pictures.
        classes: how many.
        dataset: the pictures; ``None``: they are not here, and their size and their classes' names are made up.

    Raises:
        ModelError: a layer that has no counterpart in ONNX.
    """
    facts = facts_of(config.method)
    if config.delivery == "none" or not facts.has_network:
        return 0
    coded = facts.coded(config)
    model = build_model(config.model, in_channels=in_channels, classes=classes, normalisation=config.normalisation)
    halves = partition(model.eval(), cut, checked=False)
    if bundle.expansion and (coded is not None or facts.pooled_end(config) is not None):
        narrow(halves, bundle.weights["bottleneck.conv.weight"].shape, bundle.expansion, config.normalisation)
        halves.front.eval()
        halves.back.eval()
    halves = with_its_end(halves, config, in_channels=in_channels, side=input_side(config.model), classes=classes)
    upper_C = None if coded is None or coded.limit_bits is None else bundle.upper[coded.limit_bits]
    content = network_file(
        halves,
        None if coded is None else lambda shape: configured_codec(coded, shape, upper_C),
        _input(config, bundle, in_channels, dataset),
        classes=_names(classes, dataset),
        normalisation=config.normalisation,
        int8=config.delivery == "int8",
    )
    return len(content)


def _input(config: Config, bundle: FrontBundle, in_channels: int, dataset: Dataset | None) -> NetworkInput:
    """How a picture becomes the network's input, as the run will settle it."""
    facts, side = facts_of(config.method), input_side(config.model)
    own = dataset is not None and not facts.needs_frozen_front and config.initialisation == "random"
    source = dataset if dataset is not None and own else bundle
    more = {} if dataset is None else {"white": dataset.white}
    return NetworkInput(
        in_channels=in_channels,
        mean=source.mean,
        std=source.std,
        picture_size=(side, side) if dataset is None else dataset.train.images_NHWC.shape[1:3],
        sent_as=facts.sent_as(config),
        input_size=side,
        cover=image_size(config.model) is not None,
        **more,
    )


def _names(classes: int, dataset: Dataset | None) -> Sequence[str]:
    return [f"class {number}" for number in range(classes)] if dataset is None else [*map(identity, dataset.classes)]
