"""Who holds which training images, and which test images count.

Shape legend: N training samples; a part is the int64 indices of one device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ecofed.config.problem import DataConfig
from ecofed.errors import ConfigError
from ecofed.randomness import generator, permutation

TUNING_IMAGES = 2000
"""Test images kept for tuning and stopping; published figures use the others."""
FEW_IMAGES = 250
"""A test set below this is not divided."""
_CLASSES_TOLD = 5


def partition(
    labels_N: np.ndarray, devices: int, config: DataConfig, seed: int, device_N: np.ndarray | None = None
) -> list[np.ndarray]:
    """The training indices of each device: disjoint, int64, in an order keyed by (seed, device).

    ``dirichlet`` may leave a device empty. More devices (or shards) than samples is a :class:`ConfigError`, and so are
    more devices than the data name. ``device_N``: whose image it is, for ``column``.
    """
    if devices > len(labels_N):
        raise ConfigError(f"devices = {devices}: the training set has only {len(labels_N):,} samples")
    if config.partition == "column":
        parts = _column(device_N, devices, config)
    else:
        parts = _PARTITIONS[config.partition](labels_N, devices, config, seed)
    shuffled = [part[permutation(seed, "device order", len(part), device=device)] for device, part in enumerate(parts)]
    return [part[: config.samples_per_device].astype(np.int64) for part in shuffled]


def owners_in(shares: list[np.ndarray], train_N: np.ndarray, owners_N: np.ndarray) -> np.ndarray:
    """The number in a run that the owners of some images have, int64 (N,); -1: they are not in it.

    Args:
        shares: training-set indices of each device of the run, all of one owner.
        train_N: the owner of each training image, (T,).
        owners_N: of the images in question, (N,).
    """
    number = {int(train_N[share[0]]): device for device, share in enumerate(shares) if len(share)}
    return np.array([number.get(int(owner), -1) for owner in owners_N], np.int64)


def label_counts(labels_N: np.ndarray, parts: list[np.ndarray], classes: int) -> np.ndarray:
    """How many samples of each label each device holds: int64, shape ``(devices, classes)``."""
    return np.stack([np.bincount(labels_N[part], minlength=classes) for part in parts]).astype(np.int64)


def test_indices(total: int, part: Literal["tuning", "report"], count: int) -> np.ndarray:
    """At most ``count`` indices into a test set of ``total`` images, by a fixed permutation (no seed).

    ``tuning`` is its first 2,000 images (a fifth of a set below 10,000), ``report`` the others; of fewer than 250
    images, of which a fifth would say little, all are in both.
    """
    order = mixed_order(total)
    if total < FEW_IMAGES:
        return order[:count]
    tuning = TUNING_IMAGES if total >= 5 * TUNING_IMAGES else total // 5
    return (order[:tuning] if part == "tuning" else order[tuning:])[:count]


def mixed_order(total: int) -> np.ndarray:
    """The fixed permutation of a test set, int64: its classes are mixed, however the source sorts them."""
    return permutation(0, "test split", total)


# Not a test, whatever its name looks like to pytest.
test_indices.__test__ = False  # type: ignore[attr-defined]


def _column(device_N: np.ndarray | None, devices: int, config: DataConfig) -> list[np.ndarray]:
    """As the data say. Fewer devices than they name: the first ones."""
    assert device_N is not None, "data are read with whose image it is"
    counts = np.bincount(device_N)
    large = np.flatnonzero(counts >= config.least_samples)
    if devices > len(large):
        few = f" with at least {config.least_samples} images" if config.least_samples > 1 else ""
        raise ConfigError(
            f"devices = {devices}: data.device_column = '{config.device_column}' names {len(large)} devices{few}; set "
            f"devices={len(large)}"
        )
    return [np.flatnonzero(device_N == device) for device in large[:devices]]


def left_out(parts: Sequence[np.ndarray], device_N: np.ndarray | None, config: DataConfig) -> str | None:
    """What to say of devices that the data name and that are not among those of ``parts``."""
    if config.partition != "column" or device_N is None:
        return None
    counts = np.bincount(device_N)
    counts = counts[counts > 0]
    large, small = counts[counts >= config.least_samples], counts[counts < config.least_samples]
    rest, told = large[len(parts) :], list[str]()
    named = f"devices that data.device_column = '{config.device_column}' names"
    if len(rest):
        told.append(
            f"{len(rest):,} of {len(large):,} {named} are left out, and their images with them ({rest.sum():,}); "
            "devices=auto takes all"
        )
    if len(small):
        told.append(
            f"{len(small):,} of {len(counts):,} {named} have fewer than {config.least_samples:,} images "
            f"(data.least_samples) and are left out, and their images with them ({small.sum():,})"
        )
    return "; ".join(told) or None


def in_no_shard(labels_N: np.ndarray, devices: int, config: DataConfig, classes: Sequence[str]) -> str | None:
    """What to say of images that equal shards leave over: they are of the last classes, since shards are sorted."""
    if config.partition != "shards":
        return None
    count = devices * config.shards_per_device
    rest = len(labels_N) % count
    if not rest:
        return None
    left_K = np.bincount(np.sort(labels_N)[len(labels_N) - rest :], minlength=len(classes))
    had_K = np.bincount(labels_N, minlength=len(classes))
    told = [f"'{classes[label]}' {left_K[label]:,} of {had_K[label]:,}" for label in np.flatnonzero(left_K).tolist()]
    named = ", ".join(told[-_CLASSES_TOLD:])
    more = f" and of {len(told) - _CLASSES_TOLD} other classes" if len(told) > _CLASSES_TOLD else ""
    return (
        f"{rest:,} of {len(labels_N):,} training images are on no device: data.partition=shards makes {count:,} equal "
        f"shards (devices * data.shards_per_device), and these are left over: of {named}{more}"
    )


def _iid(labels_N: np.ndarray, devices: int, config: DataConfig, seed: int) -> list[np.ndarray]:
    del config
    return np.array_split(permutation(seed, "iid", len(labels_N)), devices)


def _shards(labels_N: np.ndarray, devices: int, config: DataConfig, seed: int) -> list[np.ndarray]:
    """The paper's: sort by label, cut into equal shards (the remainder is dropped), deal them out at random."""
    count = devices * config.shards_per_device
    size = len(labels_N) // count
    if size == 0:
        raise ConfigError(
            f"data.shards_per_device = {config.shards_per_device}: {devices} devices need {count:,} shards, "
            f"but there are only {len(labels_N):,} samples"
        )
    shards = np.argsort(labels_N, kind="stable")[: count * size].reshape(count, size)
    hands = permutation(seed, "shards", count).reshape(devices, config.shards_per_device)
    return [shards[hand].reshape(-1) for hand in hands]


def _dirichlet(labels_N: np.ndarray, devices: int, config: DataConfig, seed: int) -> list[np.ndarray]:
    """Each label's samples are divided over the devices by a draw of their own."""
    hands: list[list[np.ndarray]] = [[] for _ in range(devices)]
    for label in np.unique(labels_N):
        # The label's number takes the place of a sample's in the key.
        draws = generator(seed, "dirichlet", sample=int(label))
        members = draws.permutation(np.flatnonzero(labels_N == label))
        cuts = np.rint(np.cumsum(_shares(draws, config.alpha, devices)) * len(members)).astype(np.int64)[:-1]
        for hand, piece in zip(hands, np.split(members, cuts), strict=True):
            hand.append(piece)
    return [np.concatenate(hand) for hand in hands]


def _quantity(labels_N: np.ndarray, devices: int, config: DataConfig, seed: int) -> list[np.ndarray]:
    """Sample counts by a Dirichlet draw, at least one each; labels as they come."""
    draws = generator(seed, "quantity")
    cuts = np.rint(np.cumsum(_shares(draws, config.alpha, devices)) * (len(labels_N) - devices)).astype(np.int64)
    order = draws.permutation(len(labels_N))
    return np.split(order, (cuts + np.arange(1, devices + 1))[:-1])


def _shares(draws: np.random.Generator, alpha: float, count: int) -> np.ndarray:
    """A Dirichlet draw; beyond these bounds it is its limit to within rounding, but overflows or is 0/0."""
    return draws.dirichlet(np.full(count, np.clip(alpha, 1e-3, 1e6)))


_PARTITIONS: dict[str, Callable[[np.ndarray, int, DataConfig, int], list[np.ndarray]]] = {
    "iid": _iid,
    "shards": _shards,
    "dirichlet": _dirichlet,
    "quantity": _quantity,
}
