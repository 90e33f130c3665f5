"""Sums over samples that a closed-form classifier needs.

Shape legend: N samples, D features with the constant 1 as the last, K classes.
"""

from __future__ import annotations

import numpy as np

from ecofed.errors import ConfigError, WireError

#: Sums travel as float32. So much of all squares together may be missing from one that cannot be negative.
_ROUNDING = 1e-6


def feature_grid(shape_CHW: tuple[int, int, int], most: int) -> tuple[int, int]:
    """Into how many rows and columns an activation is divided before each part is averaged.

    The finest division with at most ``most`` features; of equals the one nearest a square.

    Raises:
        ConfigError: even one feature a channel is too many.
    """
    channels, height, width = shape_CHW
    if channels > most:
        raise ConfigError(f"closed-form.features = {most}: the activation has {channels} channels; at least so many")
    rows = [count for count in range(1, height + 1) if height % count == 0]
    columns = [count for count in range(1, width + 1) if width % count == 0]
    fitting = [(row, column) for row in rows for column in columns if channels * row * column <= most]
    return max(fitting, key=lambda grid: (grid[0] * grid[1], -abs(grid[0] - grid[1]), grid[0]))


def pooled_features(h_NCHW: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Means over the parts of the grid, and a 1: float64, (N, C * rows * columns + 1)."""
    samples, channels, height, width = h_NCHW.shape
    rows, columns = grid
    parts = h_NCHW.reshape(samples, channels, rows, height // rows, columns, width // columns)
    features = parts.mean(axis=(3, 5), dtype=np.float64).reshape(samples, -1)
    return np.concatenate([features, np.ones((samples, 1))], axis=1)


def triangle_size(width: int) -> int:
    """Entries of the upper triangle of a symmetric matrix with so many rows."""
    return width * (width + 1) // 2


def pack_triangle(gram_DD: np.ndarray) -> np.ndarray:
    """The upper triangle of a symmetric matrix, row by row, float32."""
    return gram_DD[np.triu_indices(len(gram_DD))].astype(np.float32)


def unpack_triangle(packed: np.ndarray, width: int) -> np.ndarray:
    """Inverse of :func:`pack_triangle`: the whole matrix, float64."""
    gram_DD = np.zeros((width, width))
    gram_DD[np.triu_indices(width)] = packed
    return gram_DD + np.triu(gram_DD, 1).T


def check_sums(gram_DD: np.ndarray, cross_DK: np.ndarray, samples: int, largest: float) -> None:
    """Whether ``samples`` samples with features of at most ``largest`` can have the sums F^T F and F^T Y.

    They can if the constant feature tells their number and that of each class, and if no combination of features and
    classes has a negative square.

    Raises:
        WireError: no samples have these sums.
    """
    counts_K, tolerance = cross_DK[-1], _ROUNDING * max(1, samples)
    numbers = (gram_DD[-1, -1], counts_K.sum())
    if max(abs(number - samples) for number in numbers) > tolerance or counts_K.min(initial=0) < -tolerance:
        raise WireError(f"sums over {numbers[0]:.6g} samples and {numbers[1]:.6g} labels, said to be of {samples}")
    squares_D = np.diag(gram_DD)
    if squares_D.min() < 0 or squares_D.max() > samples * largest**2 + tolerance:
        raise WireError(f"sums of squares of {squares_D.max():.3g} over {samples} features of at most {largest:.3g}")
    together = np.block([[gram_DD, cross_DK], [cross_DK.T, np.diag(counts_K)]])
    slack = _ROUNDING * (np.trace(together) + 1)
    try:
        np.linalg.cholesky(together + slack * np.eye(len(together)))
    except np.linalg.LinAlgError:
        raise WireError(f"sums that no {samples} samples have") from None


def outer_of_means(cross_DK: np.ndarray, samples: int, largest: float) -> np.ndarray:
    """Of one device's sums F^T Y: the sum over classes of s s^T / n, with the sum s of n samples' features (D, D).

    Raises:
        WireError: no ``samples`` samples with features of at most ``largest`` have these sums.
    """
    counts_K, tolerance = cross_DK[-1], _ROUNDING * max(1, samples)
    if abs(counts_K.sum() - samples) > tolerance or np.abs(counts_K - np.rint(counts_K)).max() > tolerance:
        raise WireError(f"class means of {counts_K.sum():.6g} samples, said to be of {samples}")
    if counts_K.min() < -tolerance or (np.abs(cross_DK[:-1]) > counts_K * largest * (1 + _ROUNDING) + tolerance).any():
        raise WireError(f"sums over classes that no features of at most {largest:.3g} have")
    present_K = counts_K > 0.5
    scaled_DK = cross_DK[:, present_K] / np.sqrt(counts_K[present_K])
    outer_DD: np.ndarray = scaled_DK @ scaled_DK.T
    return outer_DD


def gram_from_means(outer_DD: np.ndarray, cross_DK: np.ndarray, devices_K: np.ndarray) -> np.ndarray:
    """An estimate of F^T F from class means alone (FedCOF, 2025, with one covariance for all classes, drawn towards a
    multiple of the identity).

    If the images of a class are drawn alike everywhere, n (mean - overall mean)(...)^T of a device's n images has the
    class's covariance as its expectation, but for the one degree of freedom that the overall mean takes.

    Args:
        outer_DD: sum over devices and classes of :func:`outer_of_means`.
        cross_DK: F^T Y of all devices.
        devices_K: how many devices have each class. With one device a class, nothing is known of how features vary.
    """
    present_K = cross_DK[-1] > 0.5
    scaled_DK = cross_DK[:, present_K] / np.sqrt(cross_DK[-1, present_K])
    between_DD = scaled_DK @ scaled_DK.T
    degrees = float((devices_K[present_K] - 1).sum())
    within_DD = (outer_DD - between_DD) / degrees if degrees > 0 else np.zeros_like(outer_DD)
    # Few device means say little of each direction: the fewer, the more it is taken to vary as the others do.
    features = len(within_DD) - 1
    share = features / (features + degrees)
    even_D = np.append(np.full(features, np.trace(within_DD) / features), 0.0)
    within_DD = (1 - share) * within_DD + share * np.diag(even_D)
    gram_DD: np.ndarray = between_DD + within_DD * (cross_DK[-1].sum() - present_K.sum())
    return gram_DD
