"""Sums over samples that a closed-form classifier needs. Shape legend: N samples, D features with the constant 1."""

from __future__ import annotations

import numpy as np

from ecofed.errors import ConfigError


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
