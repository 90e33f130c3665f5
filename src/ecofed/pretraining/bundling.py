"""From a front in PyTorch to a bundle: calibrated statistics, quantiser limits, a card."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from ecofed.config.network_input import images_at_once
from ecofed.config.problem import ModelConfig
from ecofed.data import to_input
from ecofed.data.images import SIZE
from ecofed.errors import ConfigError
from ecofed.models import (
    activation_shape,
    build_front,
    calibrate,
    default_cut,
    empty_front,
    initialise,
    partition,
    set_normalisation,
    state_arrays,
)
from ecofed.models.fronts import config_of
from ecofed.models.registry import build_model, image_size, input_side
from ecofed.pretraining.fractals import fractal_images
from ecofed.pretraining.limits import ALL_BITS, quantiser_limits, saturated_fraction
from ecofed.slow_work import counted
from ecofed.wire.bundle import FrontBundle

CALIBRATION_IMAGES = 500
"""Fractals that set statistics where nothing better is at hand."""
LIMIT_IMAGES = 300
"""Images that quantiser limits are searched on."""


def activations(front: nn.Module, x_NCHW: np.ndarray) -> np.ndarray:
    """The front's output for these inputs, float32, in evaluation mode."""
    front.eval()
    size = images_at_once(x_NCHW.shape[-1])
    starts = range(0, len(x_NCHW), size)
    with torch.no_grad():
        running = counted(starts, len(starts), "running the front on public images")
        batches = [front(torch.from_numpy(x_NCHW[at : at + size])).numpy() for at in running]
    return np.concatenate(batches)


def make_bundle(
    front: nn.Module,
    *,
    config: ModelConfig,
    in_channels: int,
    public_NHWC: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    card: Mapping[str, Any],
    expansion: nn.Module | None = None,
    trained_bits: int | None = None,
    own_statistics: bool = False,
) -> FrontBundle:
    """Freeze ``front`` on public images and pack it. Convolution weights are rounded to float16 precision first.

    Its normalisation becomes ``frozen`` (GroupNorm stays) with statistics set from all of ``public_NHWC``, uint8 (with
    ``own_statistics`` it keeps its own).
    Without a bottleneck the limits of 1 to 8 bits are searched on the same images; a front that was trained through its
    quantiser (``trained_bits``) keeps the limit 1 it was trained with.

    Raises:
        ModelError: the front's output has no channels, height and width.
    """
    grouped = any(isinstance(module, nn.GroupNorm) for module in front.modules())
    if not grouped:
        set_normalisation(front, "frozen")
    _round_to_half(front)
    # Smaller pictures of the paper's networks get a border; of others their size is what was asked for.
    size = SIZE if image_size(config) is None else max(public_NHWC.shape[1:3])
    shape_CHW = activation_shape(front, in_channels, size)
    x_NCHW = to_input(public_NHWC, mean, std, size)
    if not own_statistics:
        calibrate(front, torch.from_numpy(x_NCHW))
    h_NCHW = activations(front, x_NCHW[:: max(1, len(x_NCHW) // LIMIT_IMAGES)])
    if trained_bits is None:
        limits = quantiser_limits(h_NCHW, ALL_BITS)
    else:
        limits = {trained_bits: np.ones(h_NCHW.shape[1], np.float32)}
    state = state_arrays(front)
    reported_bits = trained_bits or 4
    return FrontBundle(
        model=config.name,
        width=config.width,
        cut=config.cut or default_cut(config.name),
        in_channels=in_channels,
        mean=mean,
        std=std,
        input_size=size,
        activation_shape=shape_CHW,
        weights=state,
        upper=limits,
        expansion=state_arrays(expansion) if expansion is not None else {},
        normalisation="group" if grouped else "frozen",
        card={
            **card,
            "parameters": sum(value.numel() for value in front.parameters()),
            "bytes_per_image": -(-h_NCHW[0].size * reported_bits // 8),
            "bits": reported_bits,
            "saturated_fraction": round(saturated_fraction(h_NCHW, limits[reported_bits]), 4),
            "weights_sha256": weights_digest(state),
        },
    )


def _round_to_half(front: nn.Module) -> None:
    """Round convolution weights to what float16 can hold, so that the front is delivered in half the bytes."""
    with torch.no_grad():
        for parameter in front.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter.half().float())


def weights_digest(state: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names and values in name order: tells whether two fronts are the same numbers."""
    digest = sha256()
    for name in sorted(state):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(state[name], "<f4").tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=2)
def public_images(channels: int, size: int = SIZE) -> np.ndarray:
    """Rendered fractals (N, size, size, channels), uint8: public, the same everywhere, no download."""
    return fractal_images(CALIBRATION_IMAGES, channels=channels, size=size).images_NHWC[:]


def early_bundle(bundle: FrontBundle, cut: str, bits: int | None) -> FrontBundle:
    """The first part of a front, up to ``cut``, for devices that run no more of it.

    Args:
        bundle: the whole front.
        cut: a layer before its last.
        bits: those that the quantiser needs limits for, searched on :func:`public_images`; ``None``: it needs none.

    Raises:
        ConfigError: there are negative activations after ``cut``, which the quantiser would cut off.
    """
    config = config_of(bundle, cut, bundle.normalisation)
    empty = empty_front(config, bundle.in_channels, cut, bundle.normalisation)
    shape_CHW = activation_shape(empty, bundle.in_channels, bundle.input_size)
    early = bundle.stopping_at(cut, empty.state_dict(), shape_CHW, {})
    if bits is None:
        return early
    images_NHWC = public_images(bundle.in_channels, bundle.input_size)
    some_NHWC = images_NHWC[:: max(1, len(images_NHWC) // LIMIT_IMAGES)]
    x_NCHW = to_input(some_NHWC, bundle.mean, bundle.std, bundle.input_size)
    h_NCHW = activations(build_front(early, bundle.normalisation), x_NCHW)
    if (h_NCHW < 0).any():
        raise ConfigError(
            f"ecofed.device_cuts: activations after '{cut}' are negative, which ecofed.early_bits = {bits} cannot say; "
            "stop after a whole block, or set ecofed.early_bits=32"
        )
    return dataclasses.replace(early, upper=quantiser_limits(h_NCHW, (bits,)))


def random_front(config: ModelConfig, in_channels: int, seed: int, *, normalisation: str = "frozen") -> FrontBundle:
    """A front with random weights: the opponent that pre-training has to beat.

    Statistics and quantiser limits come from rendered fractals, so nothing is needed and nothing is learned.
    ``normalisation`` is ``frozen`` or ``group``.

    Raises:
        ConfigError: an unknown model. ModelError: an impossible cut.
    """
    model = build_model(config, in_channels=in_channels, classes=2, normalisation=normalisation)
    front = partition(model, config.cut or default_cut(config.name)).front
    initialise(front, seed)
    return make_bundle(
        front,
        config=config,
        in_channels=in_channels,
        public_NHWC=public_images(in_channels, input_side(config)),
        mean=(0.5,) * in_channels,
        std=(0.25,) * in_channels,
        card={"name": f"random-{config.name}", "origin": "random weights", "images": "none", "seed": seed},
    )
