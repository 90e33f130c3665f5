"""Golden losses: one round of four steps. A refactor that moves a number must say why in its commit.

The tolerance is wide enough for another processor's rounding, and far below what any change of an algorithm does.
"""

from __future__ import annotations

from typing import Any

import pytest
from tiny import run, tiny_config

PAPER = {
    "normalisation": "batch",
    "aggregation": "equal",
    "codec__name": "minmax",
    "codec__bits": 8,
    "ecofed__server": "fedavg",
}

#: (method, settings) -> training and test loss of the round.
GOLDEN: list[tuple[str, dict[str, Any], tuple[float, float]]] = [
    ("classic-fl", {"initialisation": "random"}, (2.32661, 2.33853)),
    ("vanilla-dpfl", {"initialisation": "random"}, (2.32661, 2.33853)),
    ("vanilla-dpfl", {"initialisation": "random", "vanilla_dpfl__version": "v2"}, (2.33116, 2.32741)),
    ("lgl", {"initialisation": "random"}, (2.32646, 2.33857)),
    ("fedgkt", {"initialisation": "random"}, (4.3234, 2.34048)),
    ("ecofed", {}, (2.32586, 2.34242)),
    ("ecofed", PAPER, (2.31724, 2.34041)),
]


@pytest.mark.parametrize(("method", "changes", "losses"), GOLDEN)
def test_losses_have_not_moved(method: str, changes: dict[str, Any], losses: tuple[float, float]) -> None:
    changes = {"normalisation": "batch", **changes} if method != "ecofed" else changes
    result = run(
        tiny_config(
            method,
            model__name="vgg11",
            model__width=0.125,
            model__head_width=16,
            rounds=1,
            devices=2,
            sampled_devices=2,
            batch_size=10,
            **changes,
        )
    )
    record = result.rounds[0]
    assert (record.train_loss, record.test_loss) == pytest.approx(losses, rel=1e-3)
    # Whatever the method: what became of each class adds up to the evaluation.
    scores = result.scores.test
    assert scores is not None
    assert scores.confusion is not None
    assert scores.accuracy == record.test_accuracy
    assert sum(map(sum, scores.confusion)) == scores.samples == result.data.test_samples
    assert scores.calibration is not None
