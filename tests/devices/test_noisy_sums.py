"""Sums with noise: what is on the wire, what it costs, what a device keeps account of and refuses."""

from __future__ import annotations

import dataclasses
import json
import math
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_builders import front_bundle
from test_onnx_worker import ask, task_of

from ecofed.activations.clipping import ONE, ball
from ecofed.activations.noisy_sums import norm_of_sums, sum_features
from ecofed.config.accountant import epsilon_of
from ecofed.config.task import Task
from ecofed.devices import DeviceWorker, LocalData, LocalImages, OnnxWorker
from ecofed.devices.account import Account, Allowance, allowance_of
from ecofed.errors import ConfigError
from ecofed.wire import AskStatistics, CountRight, Failure, FrontInstalled, InstallFront, Statistics

FRONT = front_bundle("lenet", "block2", 0.5, "frozen").for_device(8)
GRID = (2, 2)
WIDTH = FRONT.activation_shape[0] * 4 + 1
COUNT = 40


def task(sends: str = "class-means", **changes: Any) -> Task:
    made = task_of(FRONT)
    settings = {"privacy__epsilon": 2.0, "closed_form__features": 128} | changes
    config = made.config.replace(method="closed-form", closed_form__sends=sends, **settings)
    return dataclasses.replace(made, config=config)


def images(count: int = COUNT) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), draw.integers(0, 10, count)


def worker(of: Task, account: Account | None = None, kind: str = "onnx", count: int = COUNT) -> Any:
    pictures, labels_N = images(count)
    if kind == "onnx":
        made: Any = OnnxWorker(of, LocalImages(of, 0, pictures, labels_N, account))
    else:
        made = DeviceWorker(of, LocalData(of, 0, pictures, labels_N, account=account))
    assert isinstance(ask(made, InstallFront(bundle=FRONT.encode())), FrontInstalled)
    return made


def sums(of: Any, round_: int = 1, grid: tuple[int, int] = GRID) -> Any:
    return ask(of, AskStatistics(round=round_, front_id=FRONT.id, rows=grid[0], columns=grid[1]))


def exact(of: Any) -> tuple[np.ndarray, np.ndarray]:
    """F^T F and F^T Y without noise, of what is clipped."""
    front = of._handlers[AskStatistics].__self__.front
    within = ball(FRONT.upper[8], GRID, front.task.config.privacy.clip)
    features_ND = sum_features(front.activations(np.arange(COUNT), 0), GRID, within)
    return features_ND.T @ features_ND, features_ND.T @ np.eye(10)[front.data.labels_N]


@pytest.mark.parametrize("kind", ["torch", "onnx"])
@pytest.mark.parametrize("sends", ["class-means", "second-moments"])
def test_what_is_on_the_wire_bears_the_noise_that_was_promised(kind: str, sends: str) -> None:
    of = task(sends)
    made = worker(of, kind=kind)
    reply = sums(made)
    assert isinstance(reply, Statistics)
    gram_DD, cross_DK = exact(made)
    whole = sends == "second-moments"
    deviation = 2 * norm_of_sums(whole=whole) * of.config.privacy.multiplier(1)
    noise = (reply.cross_DK - cross_DK) / deviation
    assert abs(noise.std() - 1) < 0.07
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    if whole:
        rows, columns = np.triu_indices(WIDTH)
        noise = (reply.gram - gram_DD[rows, columns]) / deviation
        assert abs(noise[rows != columns].std() - 1) < 0.03
        assert abs(noise[rows == columns].std() - math.sqrt(2)) < 0.3
    else:
        assert reply.gram.size == 0


def test_one_image_changes_sums_by_no_more_than_the_noise_is_made_for() -> None:
    draw = np.random.default_rng(0)
    within = ball(np.full(3, 2.0), (2, 2), 0.3)
    wild = draw.normal(size=(50, 3, 4, 4)) * 10.0 ** draw.integers(-3, 30, (50, 1, 1, 1))
    wild[0, 0, 0, 0], wild[1, 0, 0, 0], wild[2] = np.nan, np.inf, -np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        features_ND = sum_features(wild.astype(np.float32), (2, 2), within)
    assert np.isfinite(features_ND).all()
    assert np.linalg.norm(features_ND[:, :-1], axis=1).max() <= 1
    assert (features_ND[:, -1] == ONE).all()
    gram_NDD = features_ND[:, :, None] * features_ND[:, None]
    scaled_NDD = np.where(np.eye(features_ND.shape[1]) > 0, gram_NDD / math.sqrt(2), gram_NDD)
    rows, columns = np.triu_indices(features_ND.shape[1])
    added = np.concatenate([scaled_NDD[:, rows, columns], features_ND], axis=1)
    assert np.linalg.norm(added, axis=1).max() == pytest.approx(norm_of_sums(whole=True), rel=1e-9)
    assert np.linalg.norm(features_ND, axis=1).max() == pytest.approx(norm_of_sums(whole=False), rel=1e-9)


def test_a_device_draws_from_the_operating_system_and_a_simulated_one_from_the_seed() -> None:
    of = task()
    assert not np.array_equal(sums(worker(of)).cross_DK, sums(worker(of)).cross_DK)
    first, again, other = (sums(worker(of, Account.simulated(seed, 0))).cross_DK for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_asking_again_gets_the_same_bytes_and_costs_nothing_even_after_a_kill(tmp_path: Path) -> None:
    path, of = tmp_path / "own" / "account.json", task()
    first = sums(worker(of, Account.on_disk(path)))
    written = path.read_bytes()
    # The process is gone; another one with the same file answers the next round's request.
    again = sums(worker(of, Account.on_disk(path)), round_=2)
    assert np.array_equal(first.cross_DK, again.cross_DK)
    assert path.read_bytes() == written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(json.loads(written)["mus"].values()) == [pytest.approx(1 / of.config.privacy.multiplier(1))]


@pytest.mark.parametrize("what", ["seed", "clip", "grid", "images"])
def test_asking_for_anything_else_gets_other_noise_and_is_put_down(what: str) -> None:
    room = {"privacy__noise_multiplier": 6.0}
    of, account = task(**room), Account()
    before = sums(worker(of, account)).cross_DK
    changed = task(**room, **{"seed": {"seed": 9}, "clip": {"privacy__clip": 0.31}}.get(what, {}))
    made = worker(changed, account, count=COUNT - 1 if what == "images" else COUNT)
    after = sums(made, grid=(1, 4) if what == "grid" else GRID).cross_DK
    # The same noise would cancel out: what is left would be exact.
    deviation = 2 * norm_of_sums(whole=False) * of.config.privacy.multiplier(1)
    assert abs((before - after).std() / deviation - math.sqrt(2)) < 0.1
    assert len(account.spent.mus) == 2


def test_what_would_exceed_the_owners_limit_is_refused_and_not_put_down(tmp_path: Path) -> None:
    path, of = tmp_path / "account.json", task()
    mu = 1 / of.config.privacy.multiplier(1)
    allowance = Allowance(epsilon=epsilon_of(mu * math.sqrt(2.5), 1e-5))
    for seed in (0, 1):  # two runs
        assert isinstance(sums(worker(task(seed=seed), Account.on_disk(path, allowance))), Statistics)
    refused = sums(worker(task(seed=2), Account.on_disk(path, allowance)))
    assert isinstance(refused, Failure)
    assert refused.reason == (
        f"privacy: with this upload epsilon of each image would be {epsilon_of(mu * math.sqrt(3), 1e-5):.4g} over all "
        f"runs; this device's owner allows {allowance.epsilon:g}, and it is refused"
    )
    assert isinstance(sums(worker(task(seed=1), Account.on_disk(path, allowance))), Statistics)  # known already: free


def test_a_server_that_asks_for_more_than_its_run_promises_is_refused() -> None:
    made = worker(task())
    assert isinstance(sums(made), Statistics)
    refused = sums(made, grid=(1, 4))
    assert isinstance(refused, Failure)
    assert refused.reason.endswith("would be 2.954 in this run, which promises 2; it is refused")


@pytest.mark.parametrize(
    ("changes", "allowance", "reason"),
    [
        ({"privacy__epsilon": None}, Allowance(epsilon=1.0), "epsilon 1 of each image, and the run has no privacy.eps"),
        (
            {"privacy__epsilon": None},
            Allowance(label_epsilon=1.0),
            "epsilon 1 of each label, and the run has them",
        ),
        ({"normalisation": "batch"}, None, "with normalisation=batch an activation depends on other images, too"),
    ],
)
def test_a_run_that_protects_less_than_the_owner_wants_is_refused_at_once(
    changes: dict[str, Any], allowance: Allowance | None, reason: str
) -> None:
    of, (pictures, labels_N) = task(**changes), images()
    made = OnnxWorker(of, LocalImages(of, 0, pictures, labels_N, Account(allowance=allowance)))
    for request in (InstallFront(bundle=FRONT.encode()), AskStatistics(round=1, front_id="x", rows=1, columns=1)):
        reply = ask(made, request)
        assert isinstance(reply, Failure)
        assert reply.reason.startswith("privacy: ")
        assert reason in reply.reason


def test_exact_counts_do_not_leave_a_device_that_adds_noise() -> None:
    reply = ask(worker(task()), CountRight(round=1))
    assert isinstance(reply, Failure)
    assert reply.reason == "privacy: exact counts of right answers do not leave this device"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"max-epsilon": 0}, "node config max-epsilon = 0: must be a number above 0 and below 1e+06"),
        ({"max-epsilon": "1"}, "node config max-epsilon = '1': must be a number above 0 and below 1e+06"),
        ({"max-delta": 1.5}, "node config max-delta = 1.5: must be a number above 0 and below 1"),
        ({"max-label-epsilon": True}, "node config max-label-epsilon = True: must be a number above 0 and below 1e+06"),
    ],
)
def test_an_owners_limit_that_is_none_is_one_line(said: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        allowance_of(said)
    assert str(refused.value) == message


def test_an_owners_limits_are_read_from_the_nodes_settings() -> None:
    said = {"device": 3, "max-epsilon": 2, "max-delta": 1e-6}
    assert allowance_of(said) == Allowance(epsilon=2.0, delta=1e-6)
    assert not allowance_of({"device": 3}).any


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema": "ecofed-privacy-account/1", "secret": "ab"}'])
def test_a_damaged_account_is_one_line_and_is_not_started_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "account.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"account\.json: not a device's privacy account .*bring it back from a copy"):
        Account.on_disk(path)
    assert path.read_text() == content
