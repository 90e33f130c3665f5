"""What a backbone's activation at a cut is like: all that a bottleneck in closed form needs to know of pictures.

Those of EfficientNet-Lite0 on photographs are in the package (``backbones/``), made by
``benchmarks/cut_statistics.py``: means and covariances of channels over many pictures, from which no picture can be had
back. Other networks and cuts are measured on rendered fractals, which are poorer: their bottlenecks need more bytes.

Shape legend: N images, C channels at the cut, H x W spatial, S steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file
from pathlib import Path

import numpy as np

from ecofed.activations.codecs.dct import DctCodec
from ecofed.activations.entropy.position_coder import expected_bytes
from ecofed.errors import ModelError
from ecofed.files.disk import json_text, write_bytes
from ecofed.files.json_values import parse, read_as
from ecofed.files.tensor_files import pack, unpack
from ecofed.pretraining.sensitivity import root_and_inverse
from ecofed.pretraining.shipped import shipped_statistics_file

#: Steps that are tried, as shares of the activation's mean deviation.
_STEPS = np.geomspace(0.05, 12, 14)
#: Images whose codes are counted.
_COUNTED = 60


@dataclass(frozen=True)
class CutStatistics:
    """Of the activation after one layer."""

    mean_C: np.ndarray
    """float64."""
    covariance_CC: np.ndarray
    """float64."""
    step_S: np.ndarray
    """Steps of the ``dct`` codec on principal components, ascending."""
    bytes_S: np.ndarray
    """Bytes of a position's codes with each, entropy coded."""
    images: str
    """What it was measured on, for cards."""
    metric_CC: np.ndarray | None = None
    """How much the rest of the network reacts to each direction (:mod:`ecofed.pretraining.sensitivity`), float64;
    ``None``: all count the same."""

    def components(self) -> tuple[np.ndarray, np.ndarray]:
        """Directions (C, C), a row each, and variances (C,), from the largest on."""
        variance_C, direction_CC = np.linalg.eigh(self.covariance_CC)
        return direction_CC[:, ::-1].T, variance_C[::-1]

    def weighted_components(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As :meth:`components`, in the metric: the directions (C, C), a row each, the way back (C, C), a column each,
        and variances (C,). Rounding each component alike then moves the activation as little as the metric can see.
        """
        if self.metric_CC is None:
            directions_KC, variance_K = self.components()
            return directions_KC, directions_KC.T, variance_K
        root_CC, inverse_CC = root_and_inverse(self.metric_CC)
        variance_C, turn_CC = np.linalg.eigh(root_CC @ self.covariance_CC @ root_CC)
        turn_KC = turn_CC[:, ::-1].T
        return turn_KC @ root_CC, inverse_CC @ turn_KC.T, variance_C[::-1]

    def step_for(self, bytes_per_image: int, positions: int) -> float:
        """The step with which codes take so many bytes an image, whose map has so many positions."""
        wanted = np.log(bytes_per_image / positions)
        return float(np.exp(np.interp(wanted, np.log(self.bytes_S[::-1]), np.log(self.step_S[::-1]))))


def measured(h_NCHW: np.ndarray, images: str, metric_CC: np.ndarray | None = None) -> CutStatistics:
    """Of these activations; ``metric_CC``: what :func:`ecofed.pretraining.sensitivity.sensitivity` says of them."""
    channels = h_NCHW.shape[1]
    values_VC = h_NCHW.transpose(0, 2, 3, 1).reshape(-1, channels).astype(np.float64)
    covariance_CC = np.cov(values_VC, rowvar=False).reshape(channels, channels)
    bare = CutStatistics(values_VC.mean(axis=0), covariance_CC, np.empty(0), np.empty(0), images, metric_CC)
    directions_KC, _, variance_K = bare.weighted_components()
    steps_S = _STEPS * np.sqrt(variance_K.clip(1e-12).mean())
    some = h_NCHW[:: max(1, len(h_NCHW) // _COUNTED)]
    z_NCHW = np.einsum("nchw,kc->nkhw", some - bare.mean_C[:, None, None], directions_KC)
    codec = DctCodec(h_NCHW.shape[1:], np.ones(channels, np.float32))
    rows = [codec.encode((z_NCHW / (255 * step) + 0.5).astype(np.float32), 1).rows for step in steps_S]
    taken = [expected_bytes(codec.symbols(each)) / (len(some) * h_NCHW[0, 0].size) for each in rows]
    return CutStatistics(bare.mean_C, covariance_CC, steps_S, np.maximum(taken, 1e-6), images, metric_CC)


def shipped_statistics(model: str, cut: str, channels: int) -> CutStatistics | None:
    """Those of photographs, where the package has them for this cut.

    For pictures of any size: thumbnails' own are about as good for them, rendered fractals far worse.

    Raises:
        ModelError: the package's file is damaged.
    """
    place = shipped_statistics_file(model, cut)
    if channels != 3 or ":" in model or not place.is_file():
        return None
    with as_file(place) as path:
        return load_statistics(path)


def save_statistics(path: Path, statistics: CutStatistics) -> None:
    """Write them to a file."""
    arrays = {name: value for name, value in vars(statistics).items() if isinstance(value, np.ndarray)}
    write_bytes(path, pack(arrays, json_text({"images": statistics.images})))


def load_statistics(path: Path) -> CutStatistics:
    """Inverse of :func:`save_statistics`. Raises :class:`ModelError` for any other file."""
    try:
        file = unpack(path, max_header_bytes=1 << 16)
        (images,) = read_as(dict[str, str], parse(file.description)).values()
        found = CutStatistics(images=images, **file.arrays)
        channels, steps = len(found.mean_C), len(found.step_S)
        shapes = (found.mean_C.shape, found.covariance_CC.shape, found.step_S.shape, found.bytes_S.shape)
        if shapes != ((channels,), (channels, channels), (steps,), (steps,)) or steps < 2:
            raise ValueError(f"arrays of shapes {shapes}")
        if found.metric_CC is not None and found.metric_CC.shape != (channels, channels):
            raise ValueError(f"a metric of shape {found.metric_CC.shape}")
        if not all(array.dtype == np.float64 and np.isfinite(array).all() for array in file.arrays.values()):
            raise ValueError("numbers that are not finite")
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not the statistics of a cut ({error})") from error
    return found
