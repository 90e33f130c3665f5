"""Partitions are disjoint, keyed, and what their names say; test images are split once and for all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.config.problem import DataConfig
from ecofed.data import label_counts, partition, test_indices
from ecofed.data.partitions import in_no_shard
from ecofed.errors import ConfigError

LABELS = np.tile(np.arange(10), 100)
KINDS = ("iid", "shards", "dirichlet", "quantity")


@given(
    kind=st.sampled_from(KINDS),
    labels=st.lists(st.integers(0, 4), min_size=12, max_size=80),
    devices=st.integers(1, 6),
    alpha=st.sampled_from([1e-300, 0.01, 0.5, 100.0, 1e300]),
    seed=st.integers(0, 2**63 - 1),
)
def test_every_partition_is_disjoint_and_repeatable(
    kind: str, labels: list[int], devices: int, alpha: float, seed: int
) -> None:
    labels_N = np.array(labels)
    config = DataConfig(partition=kind, shards_per_device=2, alpha=alpha)  # type: ignore[arg-type]
    parts = partition(labels_N, devices, config, seed)
    assert len(parts) == devices
    assert all(part.dtype == np.int64 for part in parts)
    together = np.concatenate(parts)
    assert len(np.unique(together)) == len(together)
    dropped = len(labels) % (2 * devices) if kind == "shards" else 0
    assert len(together) == len(labels) - dropped
    if kind in ("iid", "quantity"):
        assert min(len(part) for part in parts) >= 1
    for part, again in zip(parts, partition(labels_N, devices, config, seed), strict=True):
        np.testing.assert_array_equal(part, again)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_matters_and_the_order_is_shuffled(kind: str) -> None:
    config = DataConfig(partition=kind)  # type: ignore[arg-type]
    one, two = (partition(LABELS, 10, config, seed)[0] for seed in (1, 2))
    assert not np.array_equal(one, two)
    assert not np.array_equal(one, np.sort(one))


def test_iid_shares_are_equal_to_within_one() -> None:
    sizes = [len(part) for part in partition(LABELS[:998], 7, DataConfig(), 0)]
    assert sizes == [143, 143, 143, 143, 142, 142, 142]


def test_shards_are_the_papers() -> None:
    """10 devices x 5 shards of 20 samples: every device has at most 5 labels, in multiples of 20."""
    parts = partition(LABELS, 10, DataConfig(partition="shards", shards_per_device=5), 0)
    counts = label_counts(LABELS, parts, 10)
    assert counts.sum(axis=1).tolist() == [100] * 10
    assert (counts % 20 == 0).all()
    assert (counts > 0).sum(axis=1).max() <= 5


def test_images_that_equal_shards_leave_over_are_said_with_their_classes() -> None:
    config, names = DataConfig(partition="shards", shards_per_device=3), [f"number {label}" for label in range(10)]
    assert in_no_shard(LABELS, 10, DataConfig(partition="shards", shards_per_device=5), names) is None
    assert in_no_shard(LABELS, 77, DataConfig(), names) is None
    told = in_no_shard(LABELS, 77, config, names)  # 231 shards of 4
    dealt = np.bincount(LABELS[np.concatenate(partition(LABELS, 77, config, 0))], minlength=10)
    assert dealt.tolist() == [100] * 9 + [24]
    assert told is not None
    assert told.startswith("76 of 1,000 training images are on no device: ")
    assert told.endswith("of 'number 9' 76 of 100")


def test_shards_are_dealt_at_random() -> None:
    """Dealt in order, a device with two shards of a hundred samples each would have two neighbouring labels."""
    config = DataConfig(partition="shards", shards_per_device=2)
    gaps = []
    for seed in (0, 1):
        for part in partition(np.repeat(np.arange(20), 50), 10, config, seed):
            held = np.flatnonzero(np.bincount(np.repeat(np.arange(20), 50)[part]))
            gaps.append(int(np.ptp(held)))
    assert np.mean(gaps) > 4  # of two random labels of twenty it is 7
    assert gaps[:10] != gaps[10:]


def test_dirichlet_skew_follows_alpha() -> None:
    def labels_held(alpha: float) -> float:
        parts = partition(LABELS, 10, DataConfig(partition="dirichlet", alpha=alpha), 0)
        return float((label_counts(LABELS, parts, 10) > 0).sum(axis=1).mean())

    assert labels_held(0.05) < 4 < labels_held(0.5) < 9.5 < labels_held(100)


def test_dirichlet_may_leave_a_device_empty() -> None:
    parts = partition(np.zeros(20, np.int64), 20, DataConfig(partition="dirichlet", alpha=0.05), 0)
    assert min(len(part) for part in parts) == 0
    assert label_counts(np.zeros(20, np.int64), parts, 3).shape == (20, 3)


def test_quantity_skews_sizes_but_not_labels() -> None:
    labels_N = np.tile(np.arange(10), 1000)
    parts = partition(labels_N, 10, DataConfig(partition="quantity", alpha=0.5), 0)
    sizes = np.array([len(part) for part in parts])
    assert sizes.max() > 5 * np.median(sizes)
    largest = label_counts(labels_N, parts, 10)[sizes.argmax()]
    assert largest.min() > 0.8 * largest.mean()
    everybody_one = partition(LABELS[:10], 10, DataConfig(partition="quantity"), 0)
    assert [len(part) for part in everybody_one] == [1] * 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_cap_takes_the_first_of_the_same_order(kind: str) -> None:
    whole = partition(LABELS, 10, DataConfig(partition=kind), 0)  # type: ignore[arg-type]
    capped = partition(LABELS, 10, DataConfig(partition=kind, samples_per_device=7), 0)  # type: ignore[arg-type]
    for all_of_it, some in zip(whole, capped, strict=True):
        np.testing.assert_array_equal(some, all_of_it[:7])


def test_impossible_partitions() -> None:
    with pytest.raises(ConfigError, match=r"devices = 11: the training set has only 10 samples"):
        partition(LABELS[:10], 11, DataConfig(), 0)
    with pytest.raises(ConfigError, match=r"shards_per_device = 5: 4 devices need 20 shards, but there are only 10"):
        partition(LABELS[:10], 4, DataConfig(partition="shards", shards_per_device=5), 0)


def test_label_counts() -> None:
    counts = label_counts(np.array([0, 2, 2, 1]), [np.array([1, 2, 0]), np.array([], np.int64)], 4)
    assert counts.tolist() == [[1, 0, 2, 0], [0, 0, 0, 0]]
    assert counts.dtype == np.int64


@pytest.mark.parametrize(("total", "tuning"), [(10_000, 2000), (60_000, 2000), (9_999, 1999), (360, 72)])
def test_tuning_and_report_images_never_meet(total: int, tuning: int) -> None:
    first, rest = test_indices(total, "tuning", total), test_indices(total, "report", total)
    assert (len(first), len(rest)) == (tuning, total - tuning)
    assert sorted([*first, *rest]) == list(range(total))
    np.testing.assert_array_equal(test_indices(total, "report", 50), rest[:50])
    np.testing.assert_array_equal(test_indices(total, "tuning", 50), first[:50])


def test_the_permutation_of_the_test_set_is_fixed() -> None:
    # These very images: changing them would make published figures incomparable.
    assert test_indices(10_000, "tuning", 3).tolist() == FIXED


FIXED = [2902, 2766, 4277]


def test_a_test_set_too_small_to_share_serves_both_parts() -> None:
    for part in ("tuning", "report"):
        assert sorted(test_indices(249, part, 1000)) == list(range(249))  # type: ignore[arg-type]
    np.testing.assert_array_equal(test_indices(4, "tuning", 3), test_indices(4, "report", 3))
