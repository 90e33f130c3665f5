"""The rivals: sending the images, and a classifier in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import StopAfter, outcome, run, started, tiny_config

from ecofed.activations.statistics import (
    feature_grid,
    gram_from_means,
    outer_of_means,
    pack_triangle,
    pooled_features,
    unpack_triangle,
)
from ecofed.data.jpeg import JpegBatch, compress_images, decompress_images
from ecofed.errors import ConfigError, WireError
from ecofed.methods import ClosedForm, SendImagesMethod
from ecofed.methods.refusals import BelowQuorumError
from ecofed.planning.planner import plan_run


def pictures(count: int = 5, size: int = 32, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, size // 4, size // 4, channels), np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


@pytest.mark.parametrize(("size", "channels"), [(32, 3), (32, 1), (28, 1)])
def test_images_come_back_nearly_as_they_were_and_share_their_header(size: int, channels: int) -> None:
    images = pictures(size=size, channels=channels)
    batch = compress_images(images, 95)
    received = decompress_images(batch, channels)
    assert received.shape == images.shape
    assert np.abs(received.astype(int) - images).mean() < (25 if channels == 3 else 8)
    assert len(batch.header) > 300 > batch.lengths_N.mean() / 10
    assert len(batch.bodies) == batch.lengths_N.sum()


def test_less_quality_and_smaller_images_are_fewer_bytes() -> None:
    sizes = [
        len(compress_images(pictures(), quality, size).bodies) for quality, size in ((90, None), (30, None), (30, 16))
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


def test_small_images_are_scaled_up_to_what_the_network_takes() -> None:
    assert decompress_images(compress_images(pictures(), 80, 8), 3).shape == (5, 32, 32, 3)


def test_no_image_and_one_image() -> None:
    assert decompress_images(compress_images(pictures(0), 80), 3).shape == (0, 32, 32, 3)
    assert decompress_images(compress_images(pictures(1), 80), 3).shape == (1, 32, 32, 3)


def test_what_is_not_a_batch_of_small_images_is_a_wire_error() -> None:
    batch = compress_images(pictures(), 80)
    huge = compress_images(pictures(2, size=64), 80)
    broken = {
        "whose lengths sum to": JpegBatch(header=batch.header, bodies=batch.bodies[:-1], lengths_N=batch.lengths_N),
        "cannot be decoded": JpegBatch(header=b"", bodies=batch.bodies, lengths_N=batch.lengths_N),
        "that cannot be decoded": JpegBatch(header=batch.header[:99], bodies=batch.bodies, lengths_N=batch.lengths_N),
        "an image of 64x64 pixels": huge,
    }
    for told, one in broken.items():
        with pytest.raises(WireError, match=told):
            decompress_images(one, 3)


@pytest.mark.ci
def test_images_travel_once_and_are_told_as_images() -> None:
    result = run(tiny_config("send-images", rounds=6))
    sent = {kind: row["uplink"] for kind, row in result.ledger.items() if row["uplink"]}
    assert set(sent) == {"images", "labels", "control"}
    assert sent["labels"] == 4 * 20
    assert result.labels_leave_device
    assert [record.uplink_bytes > 0 for record in result.rounds].count(True) <= 3
    smaller = run(tiny_config("send-images", rounds=6, **{"send_images__size": 12}))
    assert smaller.ledger["images"]["uplink"] < sent["images"]


def test_send_images_learns_with_the_same_number_of_steps_as_ecofed() -> None:
    steps = []
    for name in ("ecofed", "send-images"):
        method, _ = started(tiny_config(name))
        steps.append(method.train_round(1, [0, 1]).server_steps)
    assert steps[0] == steps[1] == 6


@pytest.mark.parametrize("ridge", [0.01, 0.5])
def test_closed_form_is_the_ridge_regression_of_all_features_together(ridge: float) -> None:
    method, prepared = started(tiny_config("closed-form", data__augment=False, closed_form__ridge=ridge))
    assert isinstance(method, ClosedForm)
    method.train_round(1, [0, 2])
    used = np.concatenate([prepared.parts[device] for device in (0, 2)])
    images, labels_N = prepared.dataset.train.images_NHWC[used], prepared.dataset.train.labels_N[used]
    from ecofed.data import to_input

    x_NCHW = to_input(images, prepared.task.mean, prepared.task.std)
    features_ND = method.test_input(method.tensor(x_NCHW)).numpy().astype(np.float64)
    features_ND = np.concatenate([features_ND, np.ones((len(features_ND), 1))], axis=1)
    targets_NK = np.eye(10)[labels_N]
    gram_DD = features_ND.T @ features_ND
    penalty_D = np.full(len(gram_DD), ridge * np.trace(gram_DD) / len(gram_DD))
    penalty_D[-1] = 1e-6 * len(features_ND)
    expected_DK = np.linalg.solve(gram_DD + np.diag(penalty_D), features_ND.T @ targets_NK)
    logits_NK = method.logits(method.test_input(method.tensor(x_NCHW))).numpy()
    assert np.allclose(logits_NK / 10, features_ND @ expected_DK, atol=1e-3)


def class_sums(features_ND: np.ndarray, labels_N: np.ndarray, device_N: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the server has after all devices have sent class means: outer products, sums, devices of each class."""
    classes = int(labels_N.max()) + 1
    crosses = [features_ND[device_N == one].T @ np.eye(classes)[labels_N[device_N == one]] for one in set(device_N)]
    outer_DD = sum(outer_of_means(cross, int(cross[-1].sum()), 10.0) for cross in crosses)
    return np.asarray(outer_DD), np.sum(crosses, axis=0), np.sum([cross[-1] > 0 for cross in crosses], axis=0)


def test_class_means_of_many_devices_tell_how_features_vary() -> None:
    random = np.random.default_rng(0)
    labels_N = random.integers(0, 3, 6000)
    mixing = random.normal(size=(4, 4)) / 3
    values = random.normal(size=(6000, 4)) @ mixing + random.normal(size=(3, 4))[labels_N]
    features_ND = np.c_[np.clip(values, -9, 9), np.ones(6000)]
    exact_DD = features_ND.T @ features_ND
    errors = {}
    for devices in (2, 400):
        means = class_sums(features_ND, labels_N, random.integers(0, devices, 6000))
        errors[devices] = np.abs(gram_from_means(*means) - exact_DD).max() / np.abs(exact_DD).max()
    assert errors[400] < 0.04 < errors[2]


def test_class_means_of_one_device_say_nothing_about_that() -> None:
    features_ND = np.c_[[[0.0], [2.0], [5.0]], np.ones(3)]
    gram_DD = gram_from_means(*class_sums(features_ND, np.array([0, 0, 1]), np.zeros(3, int)))
    np.testing.assert_allclose(gram_DD, [[2 + 25, 2 + 5], [2 + 5, 3]])


@pytest.mark.parametrize(
    ("sums", "samples", "said"),
    [
        ([[1.0, 2.0], [2.0, 2.0]], 5, "class means of 4 samples, said to be of 5"),
        ([[1.0, 2.0], [1.5, 2.5]], 4, "class means of 4 samples"),
        ([[25.0, 2.0], [2.0, 2.0]], 4, "sums over classes that no features of at most 10 have"),
        ([[0.0, 2.0], [-1.0, 5.0]], 4, "sums over classes that no features"),
    ],
)
def test_class_means_that_no_samples_have_are_refused(sums: list[list[float]], samples: int, said: str) -> None:
    with pytest.raises(WireError, match=said):
        outer_of_means(np.array(sums), samples, 10.0)


def test_class_means_are_fewer_bytes_and_cost_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = run(tiny_config("closed-form", rounds=6))
    config = tiny_config("closed-form", rounds=6, closed_form__sends="class-means")
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    means = run(config, out=tmp_path / "whole", report=False)
    assert means.ledger["statistics"]["uplink"] * 5 < exact.ledger["statistics"]["uplink"]
    assert 0.5 < means.totals.final_test_accuracy < exact.totals.final_test_accuracy  # few devices: little is known
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(3), report=False)
    assert outcome(run(config, out=tmp_path / "parts", resume=True, report=False)) == outcome(means)
    foreseen = plan_run(config)
    assert foreseen.total_uplink_bytes == means.totals.uplink_bytes


def test_closed_form_sends_one_upload_of_statistics_and_no_labels() -> None:
    result = run(tiny_config("closed-form", rounds=6))
    sent = {kind: row["uplink"] for kind, row in result.ledger.items() if row["uplink"]}
    assert set(sent) == {"statistics", "control"}
    met = {device for record in result.rounds for device in record.devices}
    # LeNet at half width: 32 channels of 8 x 8, of which means over 2 x 2 parts, and a one; a triangle and ten classes.
    width = 32 * 2 * 2 + 1
    assert sent["statistics"] == len(met) * 4 * (width * (width + 1) // 2 + width * 10)
    assert result.ledger["front"]["downlink"] > 0
    assert [record.uplink_bytes > 0 for record in result.rounds].count(True) == len(
        {min(r.round for r in result.rounds if device in r.devices) for device in met}
    )
    assert not result.labels_leave_device
    assert result.totals.final_test_accuracy > 0.2


@pytest.mark.ci
@pytest.mark.parametrize("name", ["send-images", "closed-form"])
def test_a_resumed_rival_ends_where_an_uninterrupted_one_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    changes: dict[str, Any] = {"rounds": 4, "send_images__ema": 0.9, "send_images__schedule": "cosine"}
    config = tiny_config(name, **changes)
    whole = run(config, out=tmp_path / "whole", report=False)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(2), report=False)
    parts = run(config, out=tmp_path / "parts", resume=True, report=False)
    assert outcome(parts) == outcome(whole)


def test_an_image_of_another_size_is_that_devices_fault() -> None:
    method, _ = started(tiny_config("send-images"))
    assert isinstance(method, SendImagesMethod)
    method._size = (30, 30)
    with pytest.raises(BelowQuorumError, match="0 of 1"):
        method.train_round(1, [0])
    assert "where others sent (30, 30)" in method.channel.notes[0]


def test_feature_grids() -> None:
    assert feature_grid((64, 8, 8), 128) == (2, 1)
    assert feature_grid((128, 8, 8), 128) == (1, 1)
    assert feature_grid((16, 8, 8), 128) == (4, 2)
    assert feature_grid((4, 6, 6), 128) == (6, 3)
    with pytest.raises(ConfigError, match="has 129 channels"):
        feature_grid((129, 8, 8), 128)


def test_features_are_means_of_parts_and_a_one() -> None:
    h_NCHW = np.arange(2 * 4 * 4, dtype=np.float32).reshape(1, 2, 4, 4)
    features = pooled_features(h_NCHW, (2, 1))
    assert features.tolist() == [[3.5, 11.5, 19.5, 27.5, 1.0]]


def test_a_symmetric_matrix_comes_back_from_its_triangle() -> None:
    half = np.arange(36.0).reshape(6, 6)
    gram_DD = half + half.T
    assert np.array_equal(unpack_triangle(pack_triangle(gram_DD), 6), gram_DD)
