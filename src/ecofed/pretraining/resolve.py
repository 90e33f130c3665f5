"""Which front does a configuration mean?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from ecofed.config.codecs import codec_facts
from ecofed.config.methods import facts_of
from ecofed.config.problem import ModelConfig
from ecofed.config.schema import Config
from ecofed.errors import ConfigError
from ecofed.models.registry import input_side
from ecofed.pretraining.bundling import random_front
from ecofed.pretraining.cached import cached_back, cached_front
from ecofed.pretraining.published import Code, published_front, published_weights
from ecofed.pretraining.shipped import automatic_front, shipped_front, shipped_fronts
from ecofed.wire import FrontBundle


def resolve_front(
    config: Config,
    cut: str,
    channels: int,
    note: Callable[[str], None],
    stand_in: Callable[[], FrontBundle] | None = None,
) -> FrontBundle:
    """The front that ``front.name`` names, for this model and input.

    ``initialisation = "random"`` means a random front for every method. ``stand_in`` is taken for a front that would
    have to be made first, for who needs its shape only.

    Raises:
        ConfigError: the front does not exist, or is for another model.
    """
    name = config.front.name
    if name == "auto" and starts_published(config):
        return published_front(
            _without_back(config.model), cut, channels, input_size=input_side(config.model), code=_code_of(config)
        )
    if name == "random" or config.initialisation == "random":
        return stand_in() if stand_in else _random_front_of(config, channels)
    if Path(name).is_file():
        bundle = FrontBundle.load(Path(name))
        check_fits(bundle, config, cut, channels, name)
        return bundle
    if name == "auto":
        shipped = automatic_front(config, cut, channels, _front_normalisation(config))
        if shipped is not None:
            return shipped.load()
        if stand_in:
            return stand_in()
        note(
            f"no shipped front for {config.model.name} x {config.model.width:g} cut at {cut}, {channels} channels: "
            f"using a random one; {_other_widths(config, cut, channels)}front.name=pretrain makes one"
        )
        return _random_front_of(config, channels)
    if name == "pretrain" and stand_in:
        return stand_in()
    if name == "pretrain":
        return cached_front(
            dataclasses.replace(config.model, cut=cut),
            channels,
            normalisation=_front_normalisation(config),
            threads=config.threads,
            note=note,
        )
    bundle = shipped_front(name).load()
    check_fits(bundle, config, cut, channels, name)
    return bundle


def starts_published(config: Config) -> bool:
    """Whether the network starts from weights that others have published; then its rest does so with the front.

    Raises:
        ConfigError: they do not suit the normalisation.
    """
    model = config.model
    if not model.is_backbone or model.weights == "none" or config.initialisation == "random":
        return False
    if config.front.name in ("random", "pretrain"):
        return False
    if model.width != 1:
        raise ConfigError(
            f"model.width = {model.width:g}: the published weights of {model.name} are for its full width; use "
            "model.width=1, or model.weights=none"
        )
    if config.normalisation == "group":
        raise ConfigError(
            f"normalisation = 'group': the weights of {model.name} were trained with BatchNorm; use "
            "normalisation=frozen, or model.weights=none"
        )
    return True


def _code_of(config: Config) -> Code | None:
    """Bytes and bits of the bottleneck that a backbone's front ends in: these codes start at zero, activations do not.

    Statistics of the batch would undo what it does.
    """
    coded = facts_of(config.method).coded(config)
    if coded is None or not coded.narrows or config.normalisation == "batch":
        return None
    return Code(config.front.bytes_per_image, coded.bits, codec_facts(coded.name).transforms)


def _without_back(model: ModelConfig) -> ModelConfig:
    """What a front is the same for."""
    return dataclasses.replace(model, cut=None, back="rest", head_width=None)


def _random_front_of(config: Config, channels: int) -> FrontBundle:
    return _random_front(config.model, channels, config.seed, _front_normalisation(config))


@lru_cache(maxsize=4)
def _random_front(model: ModelConfig, channels: int, seed: int, normalisation: str) -> FrontBundle:
    """Rendered and calibrated once for the methods of a comparison."""
    return random_front(model, channels, seed, normalisation=normalisation)


def _other_widths(config: Config, cut: str, channels: int) -> str:
    """Where the same network of another width has a shipped front: which."""
    place = (config.model.name, cut, channels)
    widths = {front.width for front in shipped_fronts() if (front.model, front.cut, front.in_channels) == place}
    return f"model.width={min(widths):g} has one, " if widths else ""


def _front_normalisation(config: Config) -> str:
    """A bundle's own: ``batch`` runs use a ``frozen`` bundle and ignore its statistics."""
    return "group" if config.normalisation == "group" else "frozen"


def check_fits(bundle: FrontBundle, config: Config, cut: str, channels: int, name: str) -> None:
    """Raise :class:`ConfigError` for a front of another model, width, cut or input."""
    wanted = (config.model.name, config.model.width, cut, channels)
    if (bundle.model, bundle.width, bundle.cut, bundle.in_channels) != wanted:
        raise ConfigError(
            f"front.name = '{name}' is for {bundle.model} x {bundle.width:g} cut at {bundle.cut}, "
            f"{bundle.in_channels} channels; this run has {wanted[0]} x {wanted[1]:g} cut at {cut}, {channels} channels"
        )
    if bundle.input_size != (side := input_side(config.model)):
        raise ConfigError(
            f"front.name = '{name}' is for pictures of {bundle.input_size}x{bundle.input_size} pixels; this run has "
            f"model.image_size = {side}"
        )


def resolve_whole(config: Config, cut: str, channels: int, note: Callable[[str], None]) -> dict[str, np.ndarray]:
    """Weights of the network's back: a backbone's published ones, otherwise pre-trained on public images over the front
    that the configuration names, once, and kept in the user's cache. All but the last layer is for use.
    """
    if starts_published(config):
        return dict(published_weights(config.model, channels).arrays)
    front = resolve_front(config, cut, channels, note)
    return cached_back(config.model, cut, front, threads=config.threads, note=note)
