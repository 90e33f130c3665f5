"""Devices that tell how many images of each class they have, and not which: what leaves them, what it teaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import outcome, tiny_config

from ecofed.config.task import upload_order
from ecofed.data.stored import part_of
from ecofed.devices.local_images import LocalImages, by_content
from ecofed.errors import ConfigError
from ecofed.methods.class_counts import ClassCounts, cross_entropy_of_counts
from ecofed.planning.planner import plan_run
from ecofed.planning.private import privacy_notes
from ecofed.relearning.retraining import retrain
from ecofed.relearning.tuning import tune
from ecofed.relearning.updating import update
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import open_buffer
from prepared import prepared_for
from stopping import StopAfter

COUNTS: dict[str, Any] = {"privacy__labels": "counts"}
#: Enough devices with few classes each, and enough steps, for the digits to be told apart by counts.
LEARNING: dict[str, Any] = {
    "devices": 16,
    "sampled_devices": 16,
    "batch_size": 32,
    "data__samples_per_device": 80,
    "data__shards_per_device": 2,
    "rounds": 6,
    "ecofed__server_steps": 60,
    "learning_rate": 0.003,
}


def test_an_order_of_images_follows_from_their_pixels_alone() -> None:
    images_NHWC = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), np.uint8)
    order_N = by_content(images_NHWC)
    assert sorted(order_N) == list(range(300))
    np.testing.assert_array_equal(images_NHWC[order_N], images_NHWC[::-1][by_content(images_NHWC[::-1])])
    assert abs(np.corrcoef(order_N, np.arange(300))[0, 1]) < 0.2


def test_what_a_device_says_of_an_image_tells_nothing_about_it(tmp_path: Path) -> None:
    config = tiny_config("ecofed", **COUNTS, keep_buffer=True, rounds=1, devices=2, data__samples_per_device=300)
    run(config, out=tmp_path, report=False)
    kept, prepared = open_buffer(tmp_path).buffer, prepared_for(config)
    for device in kept.devices:
        view = kept.latest(device)
        true_N = prepared.dataset.train.labels_N[prepared.parts[device]]
        # All that is true is how many there are of each class ...
        np.testing.assert_array_equal(np.sort(view.labels_N), np.sort(true_N))
        # As a folder a class would be read.
        sorted_N = prepared.parts[device][np.argsort(true_N, kind="stable")]
        images_NHWC = part_of(prepared.dataset.train.images_NHWC, sorted_N)
        own = LocalImages(prepared.task, device, images_NHWC, np.sort(true_N))
        np.testing.assert_array_equal(np.sort(own.labels_N), np.sort(true_N))
        # ... and said in order; that of the images is none of their folders, whose place is their class.
        said_N = np.empty(len(view), np.int64)
        said_N[upload_order(config.seed, device, 0, len(view))] = view.labels_N
        np.testing.assert_array_equal(said_N, np.sort(true_N))
        shares = np.bincount(true_N) / len(true_N)
        right, by_chance = np.mean(said_N == own.labels_N), np.square(shares).sum()
        assert abs(right - by_chance) < 4 * np.sqrt(by_chance / len(true_N))


def test_odds_are_how_much_likelier_a_class_is_there() -> None:
    device_N, labels_N = np.repeat([3, 8], [4, 2]), np.array([0, 0, 1, 1, 1, 1])
    counts = ClassCounts(labels_N, device_N, 3, evenly=False)
    # Two of six are of class 0; of device 3's, a half is.
    expected = np.log([[0.5 / (1 / 3), 0.5 / (2 / 3)], [1e-99, 1 / (2 / 3)]])
    found = counts.odds(np.array([8, 3, 8])).numpy()
    np.testing.assert_allclose(found[1, :2], expected[0], rtol=1e-6)
    assert found[0, 0] == found[0, 2] == found[1, 2] == -np.inf
    assert found[0, 1] == found[2, 1] == pytest.approx(expected[1, 1], rel=1e-6)
    evenly = ClassCounts(labels_N, device_N, 3, evenly=True).odds(np.array([3])).numpy()
    np.testing.assert_allclose(evenly[0, :2], np.log([0.5 / 0.25, 0.5 / 0.75]), rtol=1e-6)


def test_the_target_is_what_the_network_makes_of_a_sample_given_its_devices_counts() -> None:
    logits_BK = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    odds_BK = torch.tensor([[0.0, 1.0, -np.inf], [-np.inf, 0.5, -np.inf]])
    loss = cross_entropy_of_counts(logits_BK, odds_BK, 0.0)
    said = F.log_softmax(torch.tensor([2.0, 1.0, 0.0]), 0)
    # e^2 and e^(1+1) are alike: half and half. A device with one class leaves no choice.
    assert loss.item() == pytest.approx((-(0.5 * said[0] + 0.5 * said[1]).item() + np.log(3)) / 2, rel=1e-6)
    loss.backward()
    assert logits_BK.grad is not None
    np.testing.assert_allclose(logits_BK.grad[1], np.array([1 / 3, 1 / 3 - 1, 1 / 3]) / 2, atol=1e-6)


@pytest.mark.ci
@pytest.mark.parametrize("mixup", [0.0, 0.2])
def test_counts_of_devices_with_few_classes_are_nearly_as_good_as_labels(mixup: float) -> None:
    reached = {
        labels: run(tiny_config("ecofed", **LEARNING, privacy__labels=labels, ecofed__mixup=mixup), report=False)
        for labels in ("each", "counts")
    }
    each, counts = (reached[labels].totals.final_test_accuracy for labels in ("each", "counts"))
    assert each > 0.95
    assert counts > 0.85
    assert reached["counts"].ledger == reached["each"].ledger
    assert (reached["each"].labels_leave_device, reached["counts"].labels_leave_device) == (True, False)
    assert reached["counts"].data.label_counts == reached["each"].data.label_counts


@pytest.mark.ci
def test_a_run_goes_on_where_it_was_stopped_and_its_buffer_trains_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    config = tiny_config("ecofed", **COUNTS, keep_buffer=True, ecofed__refresh="spread", ecofed__views=2, rounds=4)
    whole = run(config, out=tmp_path / "whole", report=False)
    assert plan_run(config).total_uplink_bytes == whole.totals.uplink_bytes
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(2), report=False)
    assert outcome(run(config, out=tmp_path / "parts", resume=True, report=False)) == outcome(whole)
    again = retrain(tmp_path / "whole", out=tmp_path / "again", report=False)
    assert again.config["privacy"]["labels"] == "counts"
    with pytest.raises(ConfigError, match=r"privacy.labels = 'each': the buffer was made with 'counts'"):
        retrain(tmp_path / "whole", out=tmp_path / "other", sets=["privacy.labels=each"], report=False)
    with pytest.raises(ConfigError, match=r"\(privacy.labels = counts\), and with new images counts would tell"):
        update(tmp_path / "whole", out=tmp_path / "more", report=False)
    with pytest.raises(ConfigError, match=r"told no labels \(privacy.labels = counts\) to judge trials by"):
        tune(tmp_path / "whole", out=tmp_path / "tuned")


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("classic-fl", {}, "devices of classic-fl upload no codes that a server could learn from by counts"),
        ("ecofed", {"privacy__label_epsilon": 1.0}, "no label is sent that could be randomised"),
        ("ecofed", {"validation__fraction": 0.2}, "held-out samples would have no labels to be judged by"),
        ("ecofed", {"ecofed__server": "fedavg"}, "needs ecofed.server=pooled"),
        ("ecofed", {"ecofed__sampling": "class"}, "which samples are of which class is not known"),
        ("ecofed", {"keep_buffer": True, "kept_per_class": 5}, "samples cannot be kept by their class"),
        ("ecofed", {"ecofed__refresh": "plateau"}, "how well a new upload fits is judged by its labels"),
    ],
)
def test_what_counts_do_not_go_with_is_refused(method: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"privacy.labels = 'counts': ") as refused:
        plan_run(tiny_config(method, **COUNTS, **changes))
    assert message in str(refused.value)


def test_a_plan_says_what_leaves() -> None:
    def notes(**changes: Any) -> list[str]:
        return privacy_notes([tiny_config("send-images"), tiny_config("ecofed", **changes)], 20)

    assert notes() == ["class labels leave the devices as they are: send-images, ecofed"]
    told = notes(**COUNTS)
    assert told[0] == "class labels leave the devices as they are: send-images"
    assert told[1].startswith("ecofed: privacy: devices tell how many images of each class they have, and of none")
    assert notes(privacy__label_epsilon=2.0)[0] == "class labels leave the devices as they are: send-images"
