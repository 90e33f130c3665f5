"""Fronts with random weights and calibrated statistics, and images to run them on."""

from __future__ import annotations

import numpy as np
import torch

from ecofed.config.problem import ModelConfig
from ecofed.models import activation_shape, add_bottleneck, calibrate, empty_front, initialise, set_normalisation
from ecofed.randomness import generator
from ecofed.wire import FrontBundle


def images(count: int, channels: int = 3) -> np.ndarray:
    """Network input (N, C, 32, 32), always the same."""
    return generator(0, "test-images").standard_normal((count, channels, 32, 32), np.float32)


def front_bundle(
    model: str,
    cut: str,
    width: float,
    normalisation: str,
    *,
    narrow: int | None = None,
    channels: int = 3,
    head_width: int = 1,
) -> FrontBundle:
    """A random front of a real architecture."""
    front = empty_front(ModelConfig(name=model, width=width, head_width=head_width), channels, cut, normalisation)
    if narrow is not None:
        with torch.device("cpu"):
            add_bottleneck(front, activation_shape(front, channels)[0], narrow)
        front = set_normalisation(front, normalisation)
    initialise(front, 3)
    front.eval()
    x_NCHW = torch.from_numpy(images(60, channels))
    if normalisation == "frozen":
        calibrate(front, x_NCHW)
    with torch.no_grad():
        h_NCHW = front(x_NCHW).numpy()
    upper_C = np.quantile(h_NCHW, 0.999, axis=(0, 2, 3)).astype(np.float32).clip(1e-3)
    return FrontBundle(
        model=model,
        width=width,
        cut=cut,
        in_channels=channels,
        mean=(0.5,) * channels,
        std=(0.5,) * channels,
        activation_shape=activation_shape(front, channels),
        normalisation=normalisation,
        weights={name: value.numpy() for name, value in front.state_dict().items()},
        upper={4: upper_C, 8: upper_C},
    )
