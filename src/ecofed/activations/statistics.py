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
