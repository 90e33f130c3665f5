"""Built-in pre-training for a run, once per machine: results are kept in the user's cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import nn

from ecofed.config.problem import ModelConfig
from ecofed.data import list_datasets
from ecofed.data.places import cache_folder
from ecofed.errors import StorageError, WireError
from ecofed.files.disk import json_text, write_bytes
from ecofed.models import build_front, initialise, load_arrays, partition, state_arrays
from ecofed.models.bottleneck import add_expansion, is_linear
from ecofed.models.registry import build_model
from ecofed.pretraining.pretrain import pretrain_front
from ecofed.pretraining.public_images import FRACTALS, PublicImages, load_images
from ecofed.pretraining.train import EpochReport, Recipe, Report, train_network
from ecofed.wire import FrontBundle

Note = Callable[[str], None]

PUBLIC_SET = "tiny-imagenet-32"
DEFAULT_RECIPE = Recipe(epochs=6)


def default_source() -> str:
    """``tiny-imagenet-32`` where this machine has it, ``fractals`` elsewhere."""
    found = {name for name, _, place in list_datasets() if place is not None}
    return PUBLIC_SET if PUBLIC_SET in found else FRACTALS


def cached_front(config: ModelConfig, in_channels: int, *, normalisation: str, threads: int, note: Note) -> FrontBundle:
    """The front that :func:`pretrain_front` makes of :func:`default_source`, from the cache if it was made before."""
    source = default_source()
    recipe = replace(DEFAULT_RECIPE, threads=threads)
    path = _path("front", config.name, config.width, config.cut, in_channels, normalisation, source, _settings(recipe))
    if os.path.exists(path):  # which is also no where nobody may look
        try:
            return FrontBundle.load(path)
        except WireError:
            note(f"{path} cannot be read; making it again")
    note(f"pre-training a {config.name} front on {source}, {recipe.epochs} epochs, once for this machine")
    images = load_images(source, channels=in_channels)
    bundle = pretrain_front(config, images, recipe, normalisation=normalisation, report=_say(note))
    _keep(path, bundle.file_content(), note)
    return bundle


def cached_back(
    config: ModelConfig, cut: str, front: FrontBundle, *, threads: int, note: Note
) -> dict[str, np.ndarray]:
    """Weights of the network's own back, trained on public images over the frozen ``front``; from the cache if known.

    Its last layer is for the public images' classes, so a run leaves that one out.
    """
    source = default_source()
    recipe = replace(DEFAULT_RECIPE, threads=threads)
    own = () if config.back_width is None else (config.back_width,)
    path = _path("back", config.name, config.width, config.head_width, *own, cut, front.id, source, _settings(recipe))
    if os.path.exists(path):  # which is also no where nobody may look
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError):
            note(f"{path} cannot be read; making it again")
    note(f"pre-training a {config.name} back on {source}, {recipe.epochs} epochs, once for this machine")
    images = replace(load_images(source, channels=front.in_channels), mean=front.mean, std=front.std)
    arrays = pretrain_back(config, cut, front, images, recipe, report=_say(note))
    _keep(path, save(arrays), note)
    return arrays


def pretrain_back(
    config: ModelConfig, cut: str, front: FrontBundle, images: PublicImages, recipe: Recipe, report: Report
) -> dict[str, np.ndarray]:
    """Train the back of ``config``'s network on ``images`` over the frozen ``front``.

    Over a bottleneck the back begins with the front's expansion, which is trained on and returned too.
    """
    mode = "group" if front.normalisation == "group" else "running"
    model = build_model(config, in_channels=front.in_channels, classes=images.classes, normalisation=mode)
    initialise(model, recipe.seed)
    back = partition(model, cut).back
    if front.expansion:
        narrow, channels = front.weights["bottleneck.conv.weight"].shape[:2]
        add_expansion(back, narrow, channels, linear=is_linear(front.expansion))
        load_arrays(back.get_submodule("expansion"), front.expansion)
    train_network(nn.Sequential(build_front(front, front.normalisation), back), images, recipe, report=report)
    return state_arrays(back)


def _keep(path: Path, content: bytes, note: Note) -> None:
    """A cache that cannot be written costs time on the next run, not this one."""
    try:
        write_bytes(path, content)
    except StorageError as error:
        note(f"{error}; the next run will make it again")


def _path(kind: str, *key: object) -> Path:
    digest = sha256(json_text([str(part) for part in key]).encode()).hexdigest()[:16]
    return cache_folder() / "fronts" / f"{kind}-{digest}.safetensors"


def _settings(recipe: Recipe) -> str:
    """What of a recipe changes its result."""
    return json_text({name: value for name, value in asdict(recipe).items() if name != "threads"})


def _say(note: Note) -> Report:
    def say(report: EpochReport) -> None:
        note(
            f"epoch {report.epoch} of {report.epochs}: loss {report.loss:.3f}, "
            f"training accuracy {report.accuracy:.3f}, {report.seconds:.0f} s"
        )

    return say
