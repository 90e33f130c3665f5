"""Making a front: a network is pre-trained on public images, and its front kept, frozen and packed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ecofed.config.problem import ModelConfig
from ecofed.data.images import SIZE
from ecofed.errors import ConfigError
from ecofed.models import (
    Expansion,
    activation_shape,
    add_bottleneck,
    default_cut,
    initialise,
    load_arrays,
    partition,
    set_normalisation,
)
from ecofed.models.registry import build_model
from ecofed.pretraining.adversary import Adversary
from ecofed.pretraining.bottleneck import StraightThroughQuantiser
from ecofed.pretraining.bundling import make_bundle
from ecofed.pretraining.public_images import PublicImages
from ecofed.pretraining.train import EpochReport, Recipe, Report, train_network
from ecofed.pretraining.trunk import residual_trunk
from ecofed.wire import FrontBundle


def pretrain_front(
    config: ModelConfig,
    images: PublicImages,
    recipe: Recipe,
    *,
    narrow: int | None = None,
    bits: int | None = None,
    normalisation: str = "frozen",
    start: FrontBundle | None = None,
    report: Report | None = None,
    early: Callable[[FrontBundle], object] | None = None,
    checkpoint: Path | None = None,
) -> FrontBundle:
    """Pre-train the front of ``config``'s network, under a residual trunk, and pack it.

    Args:
        narrow: channels of a bottleneck at the cut; ``None`` for the plain front.
        bits: train through a quantiser of so many bits (needed with ``narrow``).
        normalisation: ``frozen`` (trained with batch statistics, which are then frozen) or ``group``.
        start: continue from this front (same model, width and cut) instead of random weights.
        report: called after each epoch.
        early: called with the front as it is after the first epoch, to see whether it is worth going on.
        checkpoint: file that an interrupted training is continued from.

    Raises:
        ConfigError: ``narrow`` without ``bits`` or the other way round, an adversary without them, or an unknown model.
        ModelError: an impossible cut, or a ``start`` that does not fit. CheckpointError: see ``train_network``.
    """
    if recipe.adversary and narrow is None:
        raise ConfigError(
            "an adversary needs a bottleneck to be trained: give --channels and --bits, or no --adversary"
        )
    if (narrow is None) != (bits is None):
        raise ConfigError("a bottleneck needs its channels and its bits: give both --channels and --bits, or neither")
    torch.set_num_threads(recipe.threads)
    in_channels = int(images.images_NHWC.shape[3])
    if start is not None:
        images = replace(images, mean=start.mean, std=start.std)
    front = _front(config, in_channels, "group" if normalisation == "group" else "running", recipe.seed, start)
    channels = activation_shape(front, in_channels)[0]
    network, expansion = _network(front, channels, narrow, bits, images.classes, normalisation, recipe.seed)
    if recipe.adversary:
        network = _against_adversary(network, front, in_channels, recipe)

    def bundle(trained: nn.Module, reports: list[EpochReport]) -> FrontBundle:
        return make_bundle(
            trained,
            config=config,
            in_channels=in_channels,
            public_NHWC=_spread(images.images_NHWC),
            mean=images.mean,
            std=images.std,
            card=_card(images, recipe, reports, start),
            expansion=expansion,
            trained_bits=bits,
        )

    def after_epoch(epoch: EpochReport) -> None:
        if report is not None:
            report(epoch)
        if early is not None and epoch.epoch == 1:
            early(bundle(copy.deepcopy(front), [epoch]))

    reports = train_network(network, images, recipe, report=after_epoch, checkpoint=checkpoint)
    return bundle(front, reports)


def _front(
    config: ModelConfig, in_channels: int, normalisation: str, seed: int, start: FrontBundle | None
) -> nn.Module:
    model = build_model(config, in_channels=in_channels, classes=2, normalisation=normalisation)
    front = partition(model, config.cut or default_cut(config.name)).front
    initialise(front, seed)
    if start is not None:
        load_arrays(front, {name: array for name, array in start.weights.items() if not name.startswith("bottleneck.")})
    return front


def _network(
    front: nn.Module, channels: int, narrow: int | None, bits: int | None, classes: int, normalisation: str, seed: int
) -> tuple[nn.Module, nn.Module | None]:
    """The front with what it is trained under, and the expansion if there is one."""
    mode = "group" if normalisation == "group" else "running"
    trunk = residual_trunk(channels, classes, mode)
    initialise(trunk, seed)
    if narrow is None or bits is None:
        return nn.Sequential(front, trunk), None
    add_bottleneck(front, channels, narrow)
    set_normalisation(front, mode)
    expansion = Expansion(narrow, channels)
    bottleneck = front.get_submodule("bottleneck")
    initialise(bottleneck, seed)
    initialise(expansion, seed)
    with torch.no_grad():
        # Half a unit of mean and spread: two thirds of the entries start inside the quantiser's 0..1.
        bottleneck.get_parameter("norm.weight").fill_(0.5)
        bottleneck.get_parameter("norm.bias").fill_(0.5)
    return nn.Sequential(front, StraightThroughQuantiser(bits), expansion, trunk), expansion


def _against_adversary(network: nn.Module, front: nn.Module, in_channels: int, recipe: Recipe) -> nn.Module:
    """The same with a decoder that listens behind the quantiser."""
    through, quantiser, *rest = network.children()
    channels, height, _ = activation_shape(front, in_channels)
    adversary = Adversary(channels, SIZE // height, in_channels, recipe.adversary)
    initialise(adversary, recipe.seed)
    return nn.Sequential(through, quantiser, adversary, *rest)


def _card(
    images: PublicImages, recipe: Recipe, reports: list[EpochReport], start: FrontBundle | None
) -> dict[str, object]:
    card: dict[str, object] = {
        "origin": "pre-trained",
        "images": images.title,
        "image_count": len(images.labels_N),
        "classes": images.classes,
        **{name: value for name, value in recipe.settings().items() if name != "threads"},
        "training_accuracy": round(reports[-1].accuracy, 4) if reports else 0.0,
    }
    if start is not None:
        card["started_from"] = start.id
    return card


def _spread(images_NHWC: np.ndarray, count: int = 4000) -> np.ndarray:
    """Evenly spaced images, so that every class of a sorted set is among them."""
    return images_NHWC[:: max(1, len(images_NHWC) // count)][:count]
