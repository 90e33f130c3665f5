"""Each image's numbers within a ball of radius 1, so that what one image can change in an upload is known.

The ball lies about the middle of the quantiser's range, which the front's bundle tells and no private image decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecofed.errors import WireError

#: How much one image in the place of another can change of what lies in a ball of radius 1 (L2): it may lie opposite.
SENSITIVITY = 2.0
#: What stands beside an image's features in sums, in units of the radius, so that counts get little of the noise.
ONE = 0.5


@dataclass(frozen=True)
class Ball:
    """Where the numbers of an image may lie."""

    middle: np.ndarray
    """As one image's numbers, float64."""
    radius: float

    def inside(self, numbers_NX: np.ndarray) -> np.ndarray:
        """Numbers of N images in units of the ball, each image's with a norm of at most 1: float64, same shape.

        What is not a number counts as the middle: which images overflow in somebody's front must not be told.
        """
        units = (numbers_NX.astype(np.float64) - self.middle) / self.radius
        units = np.nan_to_num(units, nan=0.0, posinf=0.0, neginf=0.0)
        largest_N = np.abs(units).reshape(len(units), -1).max(axis=1, initial=0.0)  # whose squares could overflow
        scaled = units / np.maximum(largest_N, 1.0).reshape(-1, *[1] * (units.ndim - 1))
        norm_N = np.sqrt(np.square(scaled).reshape(len(units), -1).sum(axis=1))
        # A hair less than 1, so that rounding does not lead out of the ball.
        factor_N = np.minimum(np.maximum(largest_N, 1.0), (1 - 1e-12) / np.maximum(norm_N, 1e-300))
        inside: np.ndarray = scaled * factor_N.reshape(-1, *[1] * (units.ndim - 1))
        return inside

    def outside(self, units_NX: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`inside`, where nothing was moved: float32."""
        return (self.middle + self.radius * units_NX).astype(np.float32)


def ball(upper_C: np.ndarray, grid: tuple[int, int], clip: float) -> Ball:
    """About the middle of a quantiser's range.

    Args:
        upper_C: its limit in each channel.
        grid: rows and columns of each channel.
        clip: the radius in units of half the range's diagonal.

    Raises:
        WireError: limits of which there is no such ball.
    """
    half_C = upper_C.astype(np.float64) / 2
    radius = clip * float(np.sqrt(np.square(half_C).sum() * grid[0] * grid[1]))
    if not 1e-30 < radius < 1e30:
        raise WireError(f"a front whose quantiser limits allow no noise (their norm is {radius:g})")
    return Ball(np.broadcast_to(half_C[:, None, None], (len(half_C), *grid)), radius)
