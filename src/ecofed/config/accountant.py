"""What Gaussian noise promises, worked out exactly (Balle & Wang, ICML 2018; Dong, Roth & Su, JRSS-B 2022).

Noise of standard deviation ``s`` on something that one record moves by at most ``d`` (L2) is a Gaussian mechanism with
``mu = d / s``. Several of them together are one with the root of the summed squares: nothing is lost in composition, so
that neither moments nor numerical convolution are needed, and a device without other packages can keep its own account.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

#: Smaller ones cannot be told from zero in double precision.
LEAST_DELTA = 1e-12
_MOST_EPSILON = 1e12
_STEPS = 200


def composed(mus: Iterable[float]) -> float:
    """Of several Gaussian mechanisms on the same record, chosen one after the other, the one that promises the same."""
    return math.sqrt(math.fsum(mu * mu for mu in mus))


def delta_of(epsilon: float, mu: float) -> float:
    """The smallest delta of a Gaussian mechanism at ``epsilon`` >= 0 (Balle & Wang, theorem 8)."""
    if mu == 0:
        return 0.0
    near, far = mu / 2 - epsilon / mu, mu / 2 + epsilon / mu
    # exp(epsilon) * Phi(-far), of which the first factor may overflow and the second vanish.
    second = 0.5 * math.exp(-near * near / 2) * _scaled_erfc(far / math.sqrt(2))
    return max(0.0, 0.5 * math.erfc(-near / math.sqrt(2)) - second)


def epsilon_of(mu: float, delta: float) -> float:
    """The smallest epsilon of a Gaussian mechanism at ``delta``, rounded up."""
    if delta_of(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while delta_of(high, mu) > delta:
        high *= 2
        if high > _MOST_EPSILON:
            return math.inf
    return _smallest(lambda epsilon: delta_of(epsilon, mu) <= delta, 0.0, high)


def mu_of(epsilon: float, delta: float) -> float:
    """The largest ``mu`` that keeps within (epsilon, delta), rounded down: noise of ``d / mu`` is enough."""
    high = 1.0
    while delta_of(epsilon, high) <= delta:
        high *= 2
    # The other way round: the smallest 1 / mu that keeps within.
    low = 1 / high
    enough = 1.0
    while delta_of(epsilon, 1 / enough) > delta:
        enough *= 2
    return 1 / _smallest(lambda inverse: delta_of(epsilon, 1 / inverse) <= delta, low, enough)


def kept_share(label_epsilon: float, classes: int) -> float:
    """With what probability randomised response of ``classes`` answers tells the truth (Kairouz et al., 2016)."""
    return 1 / (1 + (classes - 1) * math.exp(-label_epsilon))


def _smallest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where a condition that holds at ``high`` begins to, from above."""
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if holds(middle):
            high = middle
        else:
            low = middle
    return high


def _scaled_erfc(x: float) -> float:
    """exp(x^2) erfc(x), for x >= 0."""
    if x < 20:
        return math.exp(x * x) * math.erfc(x)
    square, term, total = x * x, 1.0, 1.0
    for order in range(1, 8):  # the asymptotic series; the next term is below 1e-16 of the first
        term *= -(2 * order - 1) / (2 * square)
        total += term
    return total / (x * math.sqrt(math.pi))
