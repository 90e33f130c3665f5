"""Whole runs whose devices add noise: what they reach, what they say, what they refuse before they start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import outcome, started, tiny_config

from ecofed.activations.noisy_sums import denoised
from ecofed.config import Settings
from ecofed.errors import ConfigError
from ecofed.planning.planner import plan, plan_run
from ecofed.runs.experiment import run
from stopping import StopAfter

SUMS: dict[str, Any] = {"rounds": 4, "closed_form__sends": "class-means"}


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
    assert accuracies[0] < 0.25 < 0.5 < accuracies[1]
    assert noisy.ledger == plain.ledger
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(2), report=False)
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
    weights_DK = method._weights_DK  # type: ignore[attr-defined]
    assert np.isfinite(weights_DK).all()
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
    notes = plan(settings, ["ecofed", "lgl", "closed-form"]).notes
    assert notes[0] == "class labels leave the devices as they are: ecofed, lgl"
    assert notes[1].startswith("closed-form: privacy: epsilon 1 at delta 1e-05 for each image with its label")
