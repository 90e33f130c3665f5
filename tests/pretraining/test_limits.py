"""The quantiser's constants."""

from __future__ import annotations

import numpy as np
import pytest

from ecofed.activations import make_codec
from ecofed.pretraining.limits import quantiser_limits, saturated_fraction
from ecofed.randomness import generator


def activation(seed: int = 0) -> np.ndarray:
    """Rectified normal values, each channel on its own scale; the last channel is silent."""
    values = generator(seed, "test-limits").normal(0.3, 1, (100, 5, 8, 8))
    return np.maximum(values * np.array([1, 10, 0.1, 3, 0])[:, None, None], 0).astype(np.float32)


def test_limits_grow_with_the_bits_and_scale_with_the_channel() -> None:
    limits = quantiser_limits(activation())
    assert sorted(limits) == list(range(1, 9))
    for bits in range(1, 8):
        assert (limits[bits] <= limits[bits + 1] + 1e-6).all()
    np.testing.assert_allclose(limits[4][1] / limits[4][0], 10, rtol=0.2)
    assert all(value.dtype == np.float32 and (value > 0).all() for value in limits.values())


def test_a_silent_channel_gets_the_median_of_the_others() -> None:
    limits = quantiser_limits(activation(), [4])[4]
    assert limits[4] == np.median(limits[:4])
    assert (quantiser_limits(np.zeros((2, 3, 4, 4), np.float32), [2])[2] == 1).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_no_other_limit_is_much_better_and_few_entries_saturate(bits: int) -> None:
    h_NCHW = activation()[:, :4]
    upper_C = quantiser_limits(h_NCHW, [bits])[bits]

    def error(limit_C: np.ndarray) -> float:
        codec = make_codec("uniform", bits, (4, 8, 8), limit_C.astype(np.float32))
        decoded = codec.decode(codec.encode(h_NCHW, 100).rows)
        return float((np.square(decoded - h_NCHW).mean(axis=(0, 2, 3)) / h_NCHW.var(axis=(0, 2, 3))).sum())

    assert saturated_fraction(h_NCHW, upper_C) <= 0.1
    assert error(upper_C) <= 1.02 * error(upper_C * 1.25)
    assert error(upper_C) < error(h_NCHW.max(axis=(0, 2, 3))) + 1e-6
