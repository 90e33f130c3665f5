"""Codes with noise and randomised labels: what is on the wire, and what a device keeps account of and refuses."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_builders import front_bundle
from test_onnx_worker import ask, task_of

from ecofed.activations import decompress
from ecofed.activations.clipping import Ball, ball
from ecofed.activations.codecs import Float32Codec
from ecofed.config.accountant import epsilon_of, kept_share, mu_of
from ecofed.config.task import Task, upload_order
from ecofed.devices import DeviceWorker, LocalData, LocalImages, OnnxWorker
from ecofed.devices.account import Account, Allowance, Promised, key_in_run
from ecofed.errors import DeviceError
from ecofed.wire import Failure, FrontInstalled, InstallFront, Refresh, RefreshNew, Upload

FRONT = front_bundle("lenet", "block2", 0.5, "frozen").for_device()
CODEC = Float32Codec(FRONT.activation_shape)
COUNT = 60


def task(**changes: Any) -> Task:
    made = task_of(FRONT)
    settings = {
        "codec__name": "float32",
        "codec__entropy": "none",
        "data__augment": True,
        "ecofed__refresh": "once",
    } | changes
    return dataclasses.replace(made, config=made.config.replace(**settings))


def images() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return draw.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8), draw.integers(0, 10, COUNT)


def worker(of: Task, account: Account | None = None, kind: str = "onnx", copies: int = 1) -> Any:
    pictures, labels_N = images()
    pictures, labels_N = np.repeat(pictures, copies, axis=0), np.repeat(labels_N, copies)
    if kind == "onnx":
        made: Any = OnnxWorker(of, LocalImages(of, 0, pictures, labels_N, account))
    else:
        made = DeviceWorker(of, LocalData(of, 0, pictures, labels_N, account=account))
    assert isinstance(ask(made, InstallFront(bundle=FRONT.encode())), FrontInstalled)
    return made


def refreshed(of: Any, view: int = 0, round_: int = 1) -> Any:
    return ask(of, Refresh(round=round_, view=view, front_id=FRONT.id, want_labels=True))


def sent(upload: Any, of: Task) -> np.ndarray:
    """The activations as the server decodes them, by their images' numbers."""
    assert isinstance(upload, Upload)
    codes = decompress(upload.codes, upload.samples, CODEC, of.config.codec.entropy)
    rows, _ = CODEC.open(codes, upload.samples, upload.scales, of.config.batch_size)
    h_NCHW = np.empty((upload.samples, *FRONT.activation_shape), np.float32)
    h_NCHW[upload_order(of.config.seed, 0, upload.view, upload.samples)] = CODEC.decode(rows)
    return h_NCHW


def space(of: Task) -> Ball:
    return ball(FRONT.upper[min(FRONT.upper)], FRONT.activation_shape[1:], of.config.privacy.clip)


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_every_activation_on_the_wire_bears_the_noise_that_was_promised(kind: str) -> None:
    of = task(privacy__epsilon=8.0)
    clean = space(of).inside(sent(refreshed(worker(task(), kind=kind)), of))
    raw = (sent(refreshed(worker(of, kind=kind)), of) - space(of).middle) / space(of).radius
    assert np.sqrt(np.square(clean).sum(axis=(1, 2, 3))).max() <= 1
    noise = (raw - clean) / (2 * of.config.privacy.multiplier(1))
    assert abs(noise.std() - 1) < 0.01
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    correlations = np.corrcoef(noise.reshape(COUNT, -1)) - np.eye(COUNT)
    assert np.abs(correlations).max() < 6 / math.sqrt(noise[0].size)  # each image's is its own
    assert abs(np.mean(np.abs(noise) > 2) - 0.0455) < 0.003  # normal


def test_a_view_again_is_the_same_bytes_and_another_is_refused_once_the_budget_is_gone(tmp_path: Path) -> None:
    of, path = task(privacy__epsilon=8.0, ecofed__refresh="spread", ecofed__views=2), tmp_path / "account.json"
    first = refreshed(worker(of, Account.on_disk(path)))
    before = path.read_bytes()
    again = refreshed(worker(of, Account.on_disk(path)), round_=7)  # another process, after a kill in mid-round
    assert (again.codes, again.labels_N.tolist()) == (first.codes, first.labels_N.tolist())
    assert path.read_bytes() == before
    second = refreshed(worker(of, Account.on_disk(path)), view=1)
    assert isinstance(second, Upload)
    account = Account.on_disk(path)
    assert epsilon_of(math.hypot(*account.spent.mus.values()), 1e-5) == pytest.approx(8.0, rel=1e-6)
    refused = refreshed(worker(of, account), view=2)
    assert isinstance(refused, Failure)
    assert refused.reason == (
        "privacy: upload number 3 of the same images; this run's epsilon is for 2, and it is refused"
    )
    # Another run wants the same images: the owner's limit is over all of them.
    other = task(privacy__epsilon=8.0, seed=5)
    refused = refreshed(worker(other, Account.on_disk(path, Allowance(epsilon=10.0))))
    assert isinstance(refused, Failure)
    assert refused.reason.endswith("over all runs; this device's owner allows 10, and it is refused")


def test_what_is_new_is_not_asked_for_beside_a_view_that_holds_it() -> None:
    of, account = task(privacy__epsilon=8.0), Account()
    made = worker(of, account)
    new = ask(made, RefreshNew(round=1, view=0, front_id=FRONT.id, first=50))
    assert isinstance(new, Upload)
    assert new.samples == 10
    # Every other first image would be other noise on the same activations: their mean would be without.
    reasons = [ask(made, RefreshNew(round=1, view=0, front_id=FRONT.id, first=one)).reason for one in (0, 49, 59)]
    assert {reason.partition(" would be ")[2] for reason in reasons} == {
        "12.26 in this run, which promises 8; it is refused"
    }
    assert len(account.spent.mus) == 1


def test_images_that_have_come_since_have_a_budget_of_their_own() -> None:
    promised = Promised(run="run", epsilon=8.0, delta=1e-5)
    mu = mu_of(8.0, 1e-5)
    apart = {key_in_run("run", 0, 50, "a"): mu, key_in_run("run", 50, 60, "b"): mu, key_in_run("other", 0, 60, "c"): mu}
    promised.check(apart)
    with pytest.raises(DeviceError, match=r"would be [0-9.]+ in this run, which promises 8"):
        promised.check(apart | {key_in_run("run", 49, 60, "d"): mu})


def test_randomised_labels_tell_the_truth_as_often_as_promised_and_are_drawn_once(tmp_path: Path) -> None:
    of, path = task(privacy__label_epsilon=1.5), tmp_path / "account.json"
    made = worker(of, Account.on_disk(path), copies=12)
    upload = refreshed(made)
    order_N = upload_order(of.config.seed, 0, 0, upload.samples)
    truth_N = np.repeat(images()[1], 12)[order_N]
    kept = float((upload.labels_N == truth_N).mean())
    assert abs(kept - kept_share(1.5, 10)) < 0.06
    lies_N = (upload.labels_N.astype(int) - truth_N)[upload.labels_N != truth_N] % 10
    assert np.bincount(lies_N, minlength=10)[1:].min() > 0.07 * len(lies_N)
    assert list(Account.on_disk(path).spent.labels.values()) == [1.5]
    # Another run with another seed: the same images, the same answers, nothing more spent.
    other = task(privacy__label_epsilon=1.5, seed=8)
    again = refreshed(worker(other, Account.on_disk(path, Allowance(label_epsilon=1.5)), copies=12))
    same_N = np.empty_like(upload.labels_N)
    same_N[order_N] = upload.labels_N
    assert np.array_equal(same_N[upload_order(8, 0, 0, upload.samples)], again.labels_N)
    stronger = refreshed(worker(task(privacy__label_epsilon=0.5), Account.on_disk(path, Allowance(label_epsilon=1.5))))
    assert isinstance(stronger, Failure)
    assert "epsilon of each label would be 2 over all runs" in stronger.reason


def test_the_same_images_in_another_size_get_other_answers_that_are_paid_for(tmp_path: Path) -> None:
    """Answers hang on pixels: one size after another must not bring one free answer after another."""
    path, (pictures, labels_N) = tmp_path / "account.json", images()
    allowed, told = Allowance(label_epsilon=2.0), {}
    for side in (32, 40):
        of = task(privacy__label_epsilon=1.0)
        of = dataclasses.replace(of, picture_size=(side, side), input_size=side)
        scaled = np.repeat(np.repeat(pictures, 2, axis=1), 2, axis=2)[:, :side, :side]
        local = LocalImages(of, 0, scaled, labels_N, Account.on_disk(path, allowed))
        told[side] = local.protection.labels()
    assert not np.array_equal(told[32], told[40])
    assert list(Account.on_disk(path).spent.labels.values()) == [1.0, 1.0]
    of = dataclasses.replace(task(privacy__label_epsilon=1.0), picture_size=(48, 48), input_size=48)
    with pytest.raises(DeviceError, match="epsilon of each label would be 3 over all runs"):
        LocalImages(of, 0, pictures, labels_N, Account.on_disk(path, allowed)).protection.labels()


def test_a_run_that_randomises_no_labels_is_refused_where_the_owner_wants_it() -> None:
    of = task(privacy__epsilon=1.0)
    pictures, labels_N = images()
    made = OnnxWorker(of, LocalImages(of, 0, pictures, labels_N, Account(allowance=Allowance(label_epsilon=1.0))))
    reply = ask(made, InstallFront(bundle=FRONT.encode()))
    assert isinstance(reply, Failure)
    assert reply.reason == (
        "privacy: this device's owner allows epsilon 1 of each label, and the run has them sent as they are"
    )
