"""Whole runs whose devices add noise: what they reach, what they say, what they refuse before they start."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import outcome, started, tiny_config

from ecofed.activations.noisy_sums import denoised
from ecofed.config import Settings
from ecofed.errors import ConfigError
from ecofed.planning.planner import plan, plan_run
from ecofed.planning.private import privacy_notes
from ecofed.relearning.retraining import retrain
from ecofed.runs.experiment import run
from stopping import StopAfter

SUMS: dict[str, Any] = {"rounds": 3, "closed_form__sends": "class-means"}


@pytest.mark.ci
def test_a_run_with_noise_learns_less_sends_as_much_and_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    plain = run(tiny_config("closed-form", **SUMS), report=False)
    config = tiny_config("closed-form", **SUMS, privacy__epsilon=8.0)
    noisy = run(config, out=tmp_path / "whole", report=False)
    strong = run(config.replace(privacy__epsilon=0.01), report=False)
    weak = run(config.replace(privacy__epsilon=1e5), report=False)
    accuracies = [one.totals.final_test_accuracy for one in (strong, weak)]
    assert accuracies[0] < 0.25 < 0.4 < accuracies[1]
    assert noisy.ledger == plain.ledger
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(1), report=False)
    # The same noise again: nothing is spent twice.
    assert outcome(run(config, out=tmp_path / "parts", resume=True, report=False)) == outcome(noisy)
    assert plan_run(config).total_uplink_bytes == noisy.totals.uplink_bytes
    said = [text for text in noisy.notes if text.startswith("privacy: ")]
    assert said[0].startswith(
        "privacy: epsilon 8 at delta 1e-05 for each image with its label in the one upload of its"
    )
    assert "their noise follows from the run's seed" in said[1]


def test_second_moments_with_noise_are_solved_as_sums_of_squares() -> None:
    method, _ = started(tiny_config("closed-form", privacy__epsilon=1e4, closed_form__features=32))
    method.train_round(1, [0, 1, 2])
    arrays, _ = method.state()
    assert all(np.isfinite(array).all() for array in method.network().values())
    squares_DD, of_noise = denoised(np.diag([4.0, -3.0, 1.0]), 2.0)
    assert np.allclose(squares_DD, np.diag([4.0, 0.0, 1.0]))
    assert of_noise == pytest.approx(2 * np.sqrt(3))
    assert arrays["sums/gram"].shape == (33, 33)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("classic-fl", {}, "privacy.epsilon = 2.0: devices of classic-fl add no noise to what they send"),
        ("send-images", {}, "privacy.epsilon = 2.0: devices of send-images add no noise to what they send"),
        ("closed-form", {"normalisation": "batch"}, "with normalisation=batch an activation depends on other images"),
        ("ecofed", {"ecofed__refresh": "plateau"}, "how often a device uploads is not known before; set ecofed.views"),
        (
            "ecofed",
            {"ecofed__device_cuts": "block1"},
            "there is no noise at earlier layers; use ecofed.device_cuts",
        ),
        (
            "closed-form",
            {"privacy__label_epsilon": 1.0},
            "devices of closed-form send no label by itself; privacy.ep",
        ),
        (
            "ecofed",
            {"privacy__label_epsilon": 1.0, "ecofed__server": "fedavg"},
            "privacy.label_correction = True: needs ecofed.server=pooled",
        ),
        (
            "ecofed",
            {"privacy__label_epsilon": 1.0, "validation__fraction": 0.2},
            "held-out samples would be judged by randomised labels",
        ),
        (
            "ecofed",
            {"ecofed__refresh": "period", "ecofed__period": 2, "rounds": 6, "privacy__noise_multiplier": 2.0},
            "privacy.noise_multiplier = 2.0: 3 uploads of a device would make epsilon 3.709, above privacy.epsilon = "
            "2; use 3.453 or more, or fewer uploads",
        ),
        (
            "closed-form",
            {"privacy__noise_multiplier": 1.0},
            "privacy.noise_multiplier = 1.0: 1 upload of a device would make epsilon 4.377, above privacy.epsilon = 2; "
            "use 1.994 or more, or fewer uploads",
        ),
    ],
)
def test_a_promise_that_could_not_be_kept_is_refused_before_the_start(
    method: str, changes: dict[str, Any], message: str
) -> None:
    config = tiny_config(method, privacy__epsilon=2.0, **changes)
    for attempt in (lambda: run(config), lambda: plan_run(config)):
        with pytest.raises(ConfigError) as refused:
            attempt()
        assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"privacy__epsilon": 0.0}, "privacy.epsilon = 0.0: must be in 0.001..1000000, or none"),
        ({"privacy__delta": 1.0}, "privacy.delta = 1.0: must be at least 1e-12 and below 1"),
        ({"privacy__clip": 0.0}, "privacy.clip = 0.0: must be in 0.001..1000"),
        ({"privacy__noise_multiplier": 1.0}, "privacy.noise_multiplier = 1.0: needs privacy.epsilon, the budget that"),
    ],
)
def test_settings_that_promise_nothing_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        tiny_config("closed-form", **changes)
    assert str(refused.value).startswith(message)


def test_a_plan_says_what_is_promised_and_whose_labels_leave() -> None:
    words = ["data.name=digits", "devices=3", "sampled_devices=3", "rounds=1", "model.name=lenet"]
    settings = Settings.load(None, [*words, "closed-form.privacy.epsilon=1"])
    notes = plan(settings, ["send-images", "closed-form"]).notes
    assert notes[0] == "class labels leave the devices as they are: send-images"
    assert notes[1].startswith("closed-form: privacy: epsilon 1 at delta 1e-05 for each image with its label")


@pytest.mark.ci
def test_noise_on_activations_goes_on_after_a_stop_and_the_plan_foresees_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    changes: dict[str, Any] = {"ecofed__refresh": "spread", "ecofed__views": 2, "codec__entropy": "none", "rounds": 4}
    config = tiny_config("ecofed", **changes, privacy__epsilon=1e5, privacy__label_epsilon=6.0)
    whole = run(config, out=tmp_path / "whole", report=False)
    plain = run(tiny_config("ecofed", **changes), report=False)
    assert whole.ledger == plain.ledger
    assert plan_run(config).total_uplink_bytes == whole.totals.uplink_bytes
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(2), report=False)
    # Views of both rounds bear the noise that they would have borne: nothing is spent twice.
    assert outcome(run(config, out=tmp_path / "parts", resume=True, report=False)) == outcome(whole)
    said = [text for text in whole.notes if text.startswith("privacy: ")]
    assert "for each image in all 2 uploads of its device" in said[0]
    assert said[1].startswith("privacy: epsilon 6 for each label by itself, which is drawn once; for all")
    assert not any("saturated" in text or "quantiser" in text for text in whole.notes)


def test_the_loss_of_randomised_labels_is_that_of_what_they_would_say() -> None:
    config = tiny_config("ecofed", privacy__label_epsilon=1.0, ecofed__label_smoothing=0.1)
    method, _ = started(config)
    logits_BK = torch.tensor(np.random.default_rng(0).normal(size=(5, 10)), dtype=torch.float32)
    y_B = torch.tensor([0, 3, 9, 3, 1])
    found = float(method.trainer._loss(logits_BK, y_B))  # type: ignore[attr-defined]
    kept = math.e / (math.e + 9)
    confusion_KK = np.full((10, 10), (1 - kept) / 9)
    np.fill_diagonal(confusion_KK, kept)
    said_BK = np.log(torch.softmax(logits_BK, 1).numpy() @ confusion_KK)
    expected = -0.9 * said_BK[np.arange(5), y_B.numpy()].mean() - 0.1 * said_BK.mean()
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("epsilon", [30.0, 36.5, 50.0, 1e6])
def test_the_loss_of_labels_that_are_hardly_ever_false_stays_a_number(epsilon: float) -> None:
    """Also where the network is so sure that its other answers are rounded to 0."""
    method, _ = started(tiny_config("ecofed", privacy__label_epsilon=epsilon))
    logits_BK = torch.zeros(2, 10)
    logits_BK[:, 3] = 120
    logits_BK.requires_grad_()
    right, wrong = (method.trainer._loss(logits_BK, torch.tensor([label, label])) for label in (3, 4))  # type: ignore[attr-defined]
    assert right.item() == pytest.approx(0, abs=1e-6)
    # A network that is that sure of another answer takes the label for a lie, unless there are none.
    lie = epsilon + math.log1p(9 * math.exp(-epsilon)) if epsilon < 37 else 120
    assert wrong.item() == pytest.approx(lie, rel=0.02)
    (right + wrong).backward()
    assert torch.isfinite(logits_BK.grad).all()  # type: ignore[arg-type]


def test_learning_again_from_what_was_kept_asks_no_device_and_promises_nothing_anew(tmp_path: Path) -> None:
    kept = tiny_config("ecofed", rounds=1, keep_buffer=True, ecofed__refresh="once", privacy__epsilon=8.0)
    assert any(text.startswith("privacy: ") for text in run(kept, out=tmp_path / "run", report=False).notes)
    again = retrain(tmp_path / "run", out=tmp_path / "again", report=False)
    assert not any(text.startswith("privacy: ") for text in again.notes)


def test_randomised_labels_do_not_leave_the_devices_as_they_are() -> None:
    told = [privacy_notes([tiny_config("ecofed", privacy__label_epsilon=epsilon)], 20) for epsilon in (None, 2.0)]
    assert told[0] == ["class labels leave the devices as they are: ecofed"]
    assert told[1][0].startswith("ecofed: privacy: epsilon 2 for each label by itself")
    assert not any("as they are" in line for line in told[1])
