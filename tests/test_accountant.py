"""Gaussian noise and what it promises, held against two computations that share nothing with ours."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ecofed.config.accountant import LEAST_DELTA, composed, delta_of, epsilon_of, kept_share, mu_of

#: (noise multiplier, compositions, epsilon at delta 1e-5) by dp-accounting 0.6.0:
#: ``PLDAccountant(value_discretization_interval=1e-4)`` after ``compose(GaussianDpEvent(multiplier), compositions)``.
DP_ACCOUNTING = [
    (1.0, 1, 4.37717810002493),
    (1.0, 4, 9.99725615024243),
    (3.730632, 1, 0.9999998925881861),
    (0.5, 3, 20.12502354784799),
    (10.0, 16, 1.5549816995852543),
]


@pytest.mark.parametrize(("multiplier", "times", "epsilon"), DP_ACCOUNTING)
def test_epsilon_is_that_of_dp_accounting(multiplier: float, times: int, epsilon: float) -> None:
    assert epsilon_of(composed([1 / multiplier] * times), 1e-5) == pytest.approx(epsilon, rel=1e-6)


def integrated_delta(epsilon: float, mu: float) -> float:
    """The hockey-stick divergence of N(mu, 1) from N(0, 1), as the integral that defines it."""
    x = np.linspace(-40, 40 + mu, 400_001)
    excess = np.exp(-((x - mu) ** 2) / 2) - np.exp(epsilon - x**2 / 2)
    return float(np.maximum(excess, 0).sum() * (x[1] - x[0]) / math.sqrt(2 * math.pi))


@pytest.mark.parametrize("mu", [0.05, 0.268, 1.0, 1.666, 5.0, 25.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0, 8.0, 50.0])
def test_delta_is_the_integral_that_defines_it(epsilon: float, mu: float) -> None:
    assert delta_of(epsilon, mu) == pytest.approx(integrated_delta(epsilon, mu), rel=1e-4, abs=1e-13)


@pytest.mark.parametrize("delta", [LEAST_DELTA, 1e-5, 0.1])
@pytest.mark.parametrize("epsilon", [0.001, 1.0, 8.0, 1000.0])
def test_the_noise_for_an_epsilon_keeps_it_and_hardly_less(epsilon: float, delta: float) -> None:
    mu = mu_of(epsilon, delta)
    assert delta_of(epsilon, mu) <= delta < delta_of(epsilon, mu * 1.001)
    assert epsilon_of(mu, delta) <= epsilon * (1 + 1e-9)


def test_a_device_as_a_whole_has_an_epsilon_however_large() -> None:
    # To first order mu^2 / 2 + mu * z, with z = 4.26 the normal quantile of delta.
    assert epsilon_of(800.0, 1e-5) == pytest.approx(800**2 / 2 + 800 * 4.2649, rel=1e-4)
    assert epsilon_of(0.0, 1e-5) == 0


def test_randomised_response_tells_the_truth_so_often_that_its_ratio_is_epsilon() -> None:
    kept = kept_share(1.5, 10)
    assert kept / ((1 - kept) / 9) == pytest.approx(math.exp(1.5))
