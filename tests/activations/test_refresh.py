"""Refresh policies: who is asked for a view, and when."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.activations import Uploads, make_refresh_policy
from ecofed.config.schema import EcoFedConfig
from ecofed.errors import ConfigError

VIEW_BYTES = 1000


def upload_rounds(rounds: int, **settings: Any) -> list[int]:
    """The rounds in which a device uploads that is sampled in every one."""
    policy = make_refresh_policy(EcoFedConfig(**settings), rounds)
    past, asked = Uploads(), []
    for round_ in range(1, rounds + 1):
        if policy.wants(round_, past):
            asked.append(round_)
            past = Uploads(views=past.views + 1, bytes=past.bytes + VIEW_BYTES)
    return asked


def test_the_papers_period() -> None:
    assert upload_rounds(7, refresh="period") == [1, 3, 5, 7]
    assert upload_rounds(7, refresh="period", period=3) == [1, 4, 7]


def test_once_is_the_first_round_that_samples_a_device() -> None:
    assert upload_rounds(9, refresh="once") == [1]
    policy = make_refresh_policy(EcoFedConfig(refresh="once"), 9)
    assert policy.wants(8, Uploads())


def test_views_bound_every_policy() -> None:
    assert upload_rounds(20, views=3, refresh="period") == [1, 3, 5]
    assert upload_rounds(20, views=4, refresh="spread") == [1, 6, 11, 16]


def test_a_device_met_late_uploads_at_once_and_catches_up() -> None:
    policy = make_refresh_policy(EcoFedConfig(refresh="spread", views=4), 20)
    assert policy.wants(11, Uploads())
    assert policy.wants(12, Uploads(views=2, bytes=2000))
    assert not policy.wants(13, Uploads(views=3, bytes=3000))


@given(st.integers(1, 30_000), st.sampled_from(["period", "spread"]))
def test_a_budget_is_never_exceeded_by_more_than_the_first_view(budget: int, refresh: str) -> None:
    views = len(upload_rounds(40, refresh=refresh, period=1, uplink_budget_bytes=budget))
    assert views == max(1, min(40, budget // VIEW_BYTES))


def test_a_spread_needs_something_to_spread() -> None:
    with pytest.raises(ConfigError, match=r"needs ecofed\.views"):
        EcoFedConfig(refresh="spread")


def test_plateau_asks_again_when_the_buffer_is_known_by_heart() -> None:
    policy = make_refresh_policy(EcoFedConfig(refresh="plateau", memorised=0.5), 100)
    met = Uploads(views=1, bytes=VIEW_BYTES)
    assert policy.wants(1, Uploads())
    assert not policy.wants(1, met)
    policy.observe(fresh_loss=2.0, train_loss=1.5)
    assert not policy.wants(2, met)
    policy.observe(fresh_loss=None, train_loss=0.9)
    assert policy.wants(3, met)
    copy = make_refresh_policy(EcoFedConfig(refresh="plateau"), 100)
    copy.load_state(policy.state())
    assert copy.wants(3, met)
    copy.observe(fresh_loss=1.2, train_loss=0.9)
    assert not copy.wants(4, met)
