"""What a device may say: counts that fit what is known of it, and numbers that training can bear.

A reply may be well formed and still absurd: a network of 3e38s, four billion samples. Averages and sums would carry
that into everybody's network, so a device that says such things is left out. These checks are no defence against
poisoning: numbers of ordinary size can be wrong, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ecofed.config.held_out import trained_count
from ecofed.config.schema import Config
from ecofed.errors import DeviceError
from ecofed.methods.refusals import DivergedError

#: No device has more samples, says a run that does not know how many there are.
MAX_SAMPLES = 1_000_000
#: No parameter of a trained network is larger, unless what the server sent was already so large: then ten times that.
LARGEST_WEIGHT, GROWTH = 1e3, 10.0
#: Of activations, logits and losses: what half precision can say.
LARGEST_NUMBER = 65504.0


class SampleCounts:
    """How many samples each device has.

    Args:
        known: where the server itself divided the data, a number for each device. Otherwise the first number that a
            device says binds it.
    """

    def __init__(self, known: Sequence[int] | None = None) -> None:
        self._known = None if known is None else dict(enumerate(known))
        self._said: dict[int, int] = {}

    @property
    def known(self) -> bool:
        """Whether the server knows without asking."""
        return self._known is not None

    def most(self, device: int) -> int:
        """So many samples at most."""
        expected = self._expected(device)
        return MAX_SAMPLES if expected is None else expected

    def of(self, device: int) -> int | None:
        """How many it has, if that is known."""
        return self._expected(device)

    def check(self, device: int, samples: int) -> None:
        """Raise :class:`DeviceError` unless the device can have so many samples."""
        expected = self._expected(device)
        if expected is not None and samples != expected:
            raise DeviceError(f"{samples} samples where this device has {expected}")
        if samples > MAX_SAMPLES:
            raise DeviceError(f"{samples} samples; no device may have more than {MAX_SAMPLES}")

    def keep(self, said: Mapping[int, int]) -> None:
        """Remember what devices said whose replies were good."""
        for device, samples in said.items():
            self._said.setdefault(device, samples)

    def state(self) -> dict[str, int]:
        """For a checkpoint."""
        return {str(device): samples for device, samples in self._said.items()}

    def load_state(self, said: Mapping[str, int]) -> None:
        """Inverse of :meth:`state`."""
        self._said = {int(device): samples for device, samples in said.items()}

    def _expected(self, device: int) -> int | None:
        return self._said.get(device) if self._known is None else self._known.get(device, 0)


def check_counts(
    config: Config, device: int, samples_K: np.ndarray, right_K: np.ndarray, classes: int, trained: int | None
) -> None:
    """Raise :class:`DeviceError` unless a device can have found this out about the samples that it holds out.

    Args:
        config: of the run; it says which samples are held out.
        device: its number.
        samples_K: how many of each class it says that it has.
        right_K: how many of them it says are right.
        classes: of the run.
        trained: how many samples it trains on, where that is known.
    """
    if samples_K.shape != (classes,) or right_K.shape != (classes,):
        raise DeviceError(f"counts of {samples_K.shape} and {right_K.shape} for {classes} classes")
    if (right_K > samples_K).any():
        raise DeviceError("more right answers than samples")
    held = int(samples_K.sum(dtype=np.int64))
    if held > MAX_SAMPLES:
        raise DeviceError(f"{held} samples; no device may have more than {MAX_SAMPLES}")
    if trained is not None and trained_count(config, device, trained + held) != trained:
        raise DeviceError(f"{held} held-out samples, which do not go with {trained} to train on")


def check_size(what: str, array: np.ndarray, largest: float = LARGEST_NUMBER) -> None:
    """Raise :class:`DivergedError` for numbers that are of absurd size, or none."""
    if not (found := _size(array)) <= largest:
        raise DivergedError(f"{what} of up to {found:.3g}, above {largest:.3g}: training diverged; lower learning_rate")


def check_parameters(arrays: Mapping[str, np.ndarray], sent: Callable[[str], np.ndarray]) -> None:
    """Raise :class:`DivergedError` for parameters of absurd size; ``sent(name)`` is one as it was before training."""
    for name, array in arrays.items():
        if not _size(array) <= LARGEST_WEIGHT:
            check_size(f"weights '{name}'", array, max(LARGEST_WEIGHT, GROWTH * _size(sent(name))))


def _size(array: np.ndarray) -> float:
    """The largest entry's magnitude, NaN if one is; without copies, because networks are large."""
    return max(float(array.max()), -float(array.min())) if array.size else 0.0


def check_loss(loss: float) -> None:
    """Raise :class:`DivergedError` for a loss that no training that goes on has, or a negative one."""
    if not 0 <= loss <= LARGEST_NUMBER:
        raise DivergedError(f"a loss of {loss:.3g}: training diverged; lower learning_rate")
