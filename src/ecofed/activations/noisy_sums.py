"""Sums over samples that bear noise: how devices prepare them, and what a server makes of them.

Shape legend: N samples, D features with the constant as the last, K classes.
"""

from __future__ import annotations

import math

import numpy as np

from ecofed.activations.clipping import ONE, Ball
from ecofed.activations.statistics import pooled_features, triangle_size, unpack_triangle
from ecofed.errors import WireError

#: Of a sum that bears noise: no draw of it is so many standard deviations away.
_MOST_DEVIATIONS = 40.0


def sum_features(h_NCHW: np.ndarray, grid: tuple[int, int], within: Ball | None) -> np.ndarray:
    """What is summed: pooled features and a constant, float64 (N, D); ``within`` a ball where there is noise."""
    features_ND = pooled_features(np.nan_to_num(h_NCHW) if within else h_NCHW, grid)
    if within is None:
        return features_ND
    channels = h_NCHW.shape[1]
    units_ND = within.inside(features_ND[:, :-1].reshape(-1, channels, *grid)).reshape(len(h_NCHW), -1)
    return np.concatenate([units_ND, np.full((len(h_NCHW), 1), ONE)], axis=1)


def norm_of_sums(*, whole: bool) -> float:
    """The largest norm of what one image adds to :func:`packed_for_noise` and to F^T Y together."""
    square = 1 + ONE**2
    return math.sqrt((square**2 / 2 if whole else 0.0) + square)


def packed_for_noise(gram_DD: np.ndarray) -> np.ndarray:
    """The upper triangle with a diagonal over the root of 2: its square norm is half that of the whole matrix."""
    scaled_DD = gram_DD - (1 - math.sqrt(0.5)) * np.diag(np.diag(gram_DD))
    packed: np.ndarray = scaled_DD[np.triu_indices(len(gram_DD))]
    return packed


def unpacked_noise(sums: np.ndarray, shape_DK: tuple[int, ...], *, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    """F^T F (empty unless ``whole``) and F^T Y of :func:`packed_for_noise` and what followed it."""
    width = shape_DK[0]
    size = triangle_size(width) if whole else 0
    gram_DD = unpack_triangle(sums[:size], width if whole else 0)
    return gram_DD + (math.sqrt(2) - 1) * np.diag(np.diag(gram_DD)), sums[size:].reshape(shape_DK)


def check_noisy(gram: np.ndarray, cross_DK: np.ndarray, samples: int, deviation: float) -> None:
    """Whether ``samples`` samples can have these sums, with noise of this standard deviation on them.

    Raises:
        WireError: they are too large.
    """
    most = samples * (1 + ONE**2) + _MOST_DEVIATIONS * deviation
    found = max(float(np.abs(gram).max(initial=0)), float(np.abs(cross_DK).max(initial=0)))
    if not found <= most:
        raise WireError(f"sums of up to {found:.3g} over {samples} samples; with noise at most {most:.3g}")


def denoised(gram_DD: np.ndarray, deviation: float) -> tuple[np.ndarray, float]:
    """The nearest matrix that is a sum of squares, and how much of a direction's square may still be noise: the
    largest eigenvalue of noise alone is near ``2 * deviation * sqrt(D)``, and half of it is taken."""
    values_D, vectors_DD = np.linalg.eigh((gram_DD + gram_DD.T) / 2)
    squares_DD: np.ndarray = (vectors_DD * np.maximum(values_D, 0)) @ vectors_DD.T
    return squares_DD, deviation * math.sqrt(len(gram_DD))


def gram_of_ball(cross_DK: np.ndarray, samples: int) -> np.ndarray:
    """An estimate of F^T F where class sums are all that is known: between classes what these say, within them alike in
    all directions, as much as a ball of radius 1 has."""
    counts_K = np.maximum(cross_DK[-1] / ONE, 1.0)
    scaled_DK = cross_DK / np.sqrt(counts_K)
    even_D = np.append(np.full(len(cross_DK) - 1, samples / (len(cross_DK) - 1)), 0.0)
    gram_DD: np.ndarray = scaled_DK @ scaled_DK.T + np.diag(even_D)
    return gram_DD
