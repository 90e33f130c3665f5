"""Keyed randomness: every draw is a pure function of what it is for.

A generator is made from ``(seed, purpose, device, sample, view, round)`` with numpy's counter-based Philox,
never taken from a shared stream. So a draw does not depend on what was drawn before it, and results are the same
after a resume, in another process, with another number of workers, and on a device without PyTorch.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

_MASK = (1 << 64) - 1


def generator(
    seed: int, purpose: str, *, device: int = 0, sample: int = 0, view: int = 0, round_: int = 0
) -> np.random.Generator:
    """A generator that is independent of every other key's.

    ``view`` and ``round_`` share one 64-bit counter word (32 bits each); the lowest word is left to Philox itself,
    which leaves 2**64 blocks of draws before two keys could meet.
    """
    purpose_word = int.from_bytes(blake2b(purpose.encode(), digest_size=8).digest(), "little")
    counter = [0, device & _MASK, sample & _MASK, ((round_ & 0xFFFFFFFF) << 32) | (view & 0xFFFFFFFF)]
    return np.random.Generator(
        np.random.Philox(key=np.array([seed & _MASK, purpose_word], np.uint64), counter=np.array(counter, np.uint64))
    )


def permutation(seed: int, purpose: str, count: int, *, device: int = 0, view: int = 0, round_: int = 0) -> np.ndarray:
    """A keyed permutation of ``range(count)``, int64, shape ``(count,)``."""
    return generator(seed, purpose, device=device, view=view, round_=round_).permutation(count)
