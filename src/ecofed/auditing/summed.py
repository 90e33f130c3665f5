"""What a server gets of a method whose devices send sums over their images, and in which units those are.

A device that has one image of a class sends that image's features as the "sum" of the class: what is attacked here are
devices that have at most one image of each class. Shape legend: N images, D features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecofed.activations.clipping import SENSITIVITY, Ball, ball
from ecofed.activations.noisy_sums import norm_of_sums, sum_features
from ecofed.activations.statistics import feature_grid, unpack_triangle
from ecofed.auditing.uploads import Uploaded, ask, seen_pixels
from ecofed.config.methods import facts_of
from ecofed.devices import DeviceWorker
from ecofed.devices.answering import side_of
from ecofed.devices.local_data import LocalData
from ecofed.randomness import generator
from ecofed.runs.preparation import Prepared
from ecofed.wire import AskStatistics, FrontBundle, FrontInstalled, InstallFront, Statistics


def uploads_sums(method: str) -> bool:
    """Whether this method's devices upload sums over their images."""
    side = side_of(method)
    return side is not None and AskStatistics in side.answers


@dataclass(frozen=True)
class Space:
    """Where features lie that are summed."""

    bundle: FrontBundle
    grid: tuple[int, int]
    within: Ball | None
    """Of features that bear noise."""
    deviation: float
    """Of that noise."""
    whole: bool
    """Whether sums of products are sent, too."""

    @classmethod
    def of(cls, prepared: Prepared) -> Space:
        config = prepared.task.config
        assert prepared.bundle is not None
        bundle = prepared.bundle.for_device(min(prepared.bundle.upper))
        grid = feature_grid(bundle.activation_shape, config.closed_form.features)
        own, whole = config.privacy, config.closed_form.sends == "second-moments"
        if own.epsilon is None:
            return cls(bundle, grid, None, 0.0, whole)
        uploads = facts_of(config.method).uploads_at_most(config) or 1
        deviation = SENSITIVITY * norm_of_sums(whole=whole) * own.multiplier(uploads)
        return cls(bundle, grid, ball(bundle.upper[min(bundle.upper)], grid, own.clip), deviation, whole)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns."""
        return self.bundle.activation_shape[0], *self.grid

    def features(self, h_NCHW: np.ndarray) -> np.ndarray:
        """Of activations: float64 (N, D), with the constant as the last."""
        return sum_features(h_NCHW, self.grid, self.within)


class SummedFront(nn.Module):
    """A front as who knows it can look through it: images to features (N, C, rows, columns) as they are summed."""

    def __init__(self, front: nn.Module, space: Space) -> None:
        super().__init__()
        self.front, self.space = front, space

    def forward(self, x_NCHW: Tensor) -> Tensor:
        h_NCHW = F.adaptive_avg_pool2d(self.front(x_NCHW), self.space.grid)
        within = self.space.within
        if within is None:
            return h_NCHW
        units = (h_NCHW - torch.tensor(within.middle, dtype=torch.float32)) / within.radius
        norm_N = units.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        output: Tensor = units / norm_N.clamp(min=1.0)
        return output


@dataclass(frozen=True)
class Sums:
    """One device's."""

    cross_DK: np.ndarray
    """F^T Y, float64: of each class the sum of its features; the last row tells how many images those are."""
    gram_DD: np.ndarray | None
    """F^T F, where it is sent."""
    nbytes: int

    @cached_property
    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (D,) and axes (D, D) of F^T F."""
        assert self.gram_DD is not None
        values_D, axes_DD = np.linalg.eigh((self.gram_DD + self.gram_DD.T) / 2)
        return values_D, axes_DD


def sums_of(prepared: Prepared, data: LocalData) -> Sums:
    """What the server gets of a device.

    Raises:
        DeviceError: the device refused.
    """
    space, worker = Space.of(prepared), DeviceWorker(prepared.task, data)
    ask(worker, InstallFront(bundle=space.bundle.encode()), FrontInstalled)
    request = AskStatistics(round=1, front_id=space.bundle.id, rows=space.grid[0], columns=space.grid[1])
    reply, kinds = ask(worker, request, Statistics)
    cross_DK = reply.cross_DK.astype(np.float64)
    gram_DD = unpack_triangle(reply.gram, len(cross_DK)) if len(reply.gram) else None
    return Sums(cross_DK, gram_DD, kinds.get("statistics", 0))


def one_of_each(labels_N: np.ndarray) -> list[np.ndarray]:
    """Numbers of images in groups without two of a class, as few as there can be."""
    rank_N = np.zeros(len(labels_N), np.int64)
    for label in np.unique(labels_N):
        own_N = np.flatnonzero(labels_N == label)
        rank_N[own_N] = np.arange(len(own_N))
    return [np.flatnonzero(rank_N == rank) for rank in range(int(rank_N.max(initial=-1)) + 1)]


def single_sums(prepared: Prepared, data: LocalData) -> Uploaded:
    """What arrives of a device that has at most one image of each class: that image's features."""
    found = sums_of(prepared, data)
    rows = found.cross_DK[:-1, data.labels_N].T
    return _as_uploaded(Space.of(prepared), data, rows, found.nbytes / max(1, len(data)))


def worked_out(prepared: Prepared, front: SummedFront, data: LocalData, seed: int) -> Uploaded:
    """What would arrive of each of these images if a device had no other of its class: worked out by who knows the
    front, with noise of his own. One device after the other would send the same, and take twenty times as long."""
    samples_N = np.arange(len(data))
    with torch.no_grad():
        parts = [front(data.inputs(samples_N[at : at + 64], 0)) for at in range(0, len(data), 64)]
    rows = torch.cat(parts).flatten(1).numpy()
    noise = generator(seed, "audit-noise", device=data.device).standard_normal(rows.shape)
    return _as_uploaded(Space.of(prepared), data, rows + front.space.deviation * noise, 4.0 * rows.shape[1])


def _as_uploaded(space: Space, data: LocalData, rows: np.ndarray, nbytes: float) -> Uploaded:
    return Uploaded(
        pixels_NHWC=seen_pixels(data, np.arange(len(data)), 0),
        labels_N=data.labels_N.astype(np.int64),
        samples_N=data.given_as_N,
        rows=rows.astype(np.float32),
        scale_N=np.empty(0, np.float32),
        codec=None,
        shape_CHW=space.shape,
        bytes_per_image=nbytes,
    )
