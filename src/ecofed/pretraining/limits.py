"""The quantiser's constants: where to clip each channel, decided once on public images.

Shape legend: N images, C channels, H x W spatial, V values of one channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ALL_BITS = tuple(range(1, 9))
MOST_SATURATED = 0.1
"""At most this fraction of a channel's entries may lie above its limit, whatever the error says."""
_MOST_VALUES = 6_000
_STEPS = 20


def quantiser_limits(h_NCHW: np.ndarray, bits: Sequence[int] = ALL_BITS) -> dict[int, np.ndarray]:
    """For each number of bits, the upper limit of each channel (lower limit 0) with the least squared error.

    Few bits want tight limits (coarse steps cost more than clipped peaks), many bits wide ones. Limits are searched
    between the quantile that :data:`MOST_SATURATED` allows and the channel's largest value. A channel that these
    images never excite gets the median of the others.

    Returns float32 arrays of shape (C,), all above 0.
    """
    values_VC = h_NCHW.transpose(0, 2, 3, 1).reshape(-1, h_NCHW.shape[1])
    values_VC = np.maximum(values_VC[:: max(1, len(values_VC) // _MOST_VALUES)], 0, dtype=np.float32)
    highest_C = values_VC.max(axis=0)
    lowest_C = np.minimum(np.quantile(values_VC, 1 - MOST_SATURATED, axis=0), highest_C)
    # A mostly silent channel has its quantile at zero; a limit of zero could encode nothing.
    lowest_C = np.maximum(lowest_C, highest_C / 50).astype(np.float32)
    silent_C = highest_C <= 0
    candidates = [lowest_C + (highest_C - lowest_C) * np.float32(step / _STEPS) for step in range(_STEPS + 1)]
    limits: dict[int, np.ndarray] = {}
    for count in bits:
        errors = np.stack([_error(values_VC, np.where(silent_C, 1, upper_C), count) for upper_C in candidates])
        best_C = np.stack(candidates)[errors.argmin(axis=0), np.arange(len(highest_C))]
        best_C[silent_C] = np.median(best_C[~silent_C]) if not silent_C.all() else 1.0
        limits[count] = best_C.astype(np.float32)
    return limits


def saturated_fraction(h_NCHW: np.ndarray, upper_C: np.ndarray) -> float:
    """The fraction of entries above their channel's limit."""
    return float((h_NCHW > upper_C.reshape(-1, 1, 1)).mean())


def _error(values_VC: np.ndarray, upper_C: np.ndarray, bits: int) -> np.ndarray:
    step_C = (upper_C / ((1 << bits) - 1)).astype(np.float32)
    error_VC = np.minimum(values_VC, upper_C)
    error_VC /= step_C
    np.rint(error_VC, out=error_VC)
    error_VC *= step_C
    error_VC -= values_VC
    return np.asarray(np.einsum("vc,vc->c", error_VC, error_VC))
