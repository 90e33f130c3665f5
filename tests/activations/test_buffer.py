"""The replay buffer: what it keeps, in which order, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.activations import ReplayBuffer, View
from ecofed.errors import WireError


def view(value: int, samples: int = 3) -> View:
    return View(
        rows=np.full((samples, 2), value, np.uint8),
        scale_N=np.empty(0, np.float32),
        sample_N=np.arange(samples),
        labels_N=np.full(samples, value, np.int64),
    )


uploads = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 4)), max_size=12)


@given(uploads, st.none() | st.integers(1, 3))
def test_a_buffer_comes_back_from_its_state(content: list[tuple[int, int, int]], kept: int | None) -> None:
    first, second = ReplayBuffer("front", kept), ReplayBuffer("front", kept)
    for device, number, samples in content:
        first.put(device, number, view(number, samples), "front")
    second.load_state(first.state())
    assert second.devices == first.devices
    assert len(second) == len(first)
    assert second.state().keys() == first.state().keys()
    for name, array in first.state().items():
        assert np.array_equal(second.state()[name], array)


@given(uploads, st.integers(1, 3))
def test_only_the_latest_views_stay(content: list[tuple[int, int, int]], kept: int) -> None:
    buffer = ReplayBuffer("front", kept)
    for device, number, samples in sorted(content, key=lambda upload: upload[1]):
        buffer.put(device, number, view(number, samples), "front")
    for device in range(4):
        numbers = sorted({number for who, number, _ in content if who == device})
        assert list(buffer.views_of(device)) == numbers[-kept:]


def test_without_a_bound_every_view_stays() -> None:
    buffer = ReplayBuffer("front", views_kept=None)
    for number in range(9):
        buffer.put(0, number, view(number), "front")
    assert len(buffer) == 27


def test_a_pool_is_in_device_and_view_order_whatever_arrived_first() -> None:
    buffer = ReplayBuffer("front", views_kept=None)
    for device, number in [(5, 1), (2, 0), (5, 0)]:
        buffer.put(device, number, view(10 * device + number, 2), "front")
    assert np.asarray(buffer.pool([2, 5]).labels_N).tolist() == [20, 20, 50, 50, 51, 51]
    assert buffer.latest(5).labels_N.tolist() == [51, 51]


def test_a_device_without_samples_is_not_replayed() -> None:
    buffer = ReplayBuffer("front")
    buffer.put(3, 0, view(0, samples=0), "front")
    buffer.put(1, 0, view(0), "front")
    assert buffer.devices == [1]


def test_activations_of_another_front_are_refused() -> None:
    with pytest.raises(WireError, match="of front old"):
        ReplayBuffer("new").put(0, 0, view(0), "old")


def test_a_view_whose_fields_do_not_match_is_refused() -> None:
    broken = View(
        rows=view(0).rows, scale_N=np.ones(2, np.float32), sample_N=np.arange(3), labels_N=np.zeros(3, np.int64)
    )
    with pytest.raises(WireError, match="lengths"):
        ReplayBuffer("front").put(0, 0, broken, "front")
