"""Synthetic results with the proportions of real ones: five methods on the same devices, ledgers that add up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ecofed.config.methods import PAPER_METHODS
from ecofed.config.schema import Config
from ecofed.randomness import generator
from ecofed.results import Comparison, DataSummary, Floors, RoundRecord, RunResult, Totals
from ecofed.results.scores import RunScores, Scores, Tally

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]

#: Bytes a device moves in one round in which it takes part, by kind: (up, down).
PER_VISIT: dict[str, dict[str, tuple[int, int]]] = {
    "classic-fl": {"weights": (2_310_000, 2_310_000), "control": (420, 380)},
    "vanilla-dpfl": {
        "weights": (19_600, 19_600),
        "activations": (2_457_600, 0),
        "gradients": (0, 2_457_600),
        "labels": (300, 0),
        "control": (4_200, 3_900),
    },
    "lgl": {"weights": (101_000, 101_000), "activations": (2_457_600, 0), "labels": (300, 0), "control": (900, 700)},
    "fedgkt": {
        "weights": (101_000, 101_000),
        "activations": (2_457_600, 0),
        "logits": (12_000, 12_000),
        "labels": (300, 0),
        "control": (900, 700),
    },
    "ecofed": {"activations": (307_200, 0), "labels": (300, 0), "control": (640, 210)},
}
#: Where accuracy goes, and how fast (rounds).
CURVE = {
    "classic-fl": (0.79, 6.0),
    "vanilla-dpfl": (0.765, 5.5),
    "lgl": (0.715, 4.0),
    "fedgkt": (0.70, 4.5),
    "ecofed": (0.825, 2.2),
}


def label_counts(devices: int, classes: int, per_device: int, labels_per_device: int = 3) -> list[list[int]]:
    """Skewed counts: every device holds a few labels."""
    counts = np.zeros((devices, classes), dtype=int)
    for device in range(devices):
        held = generator(0, "test-labels", device=device).permutation(classes)[:labels_per_device]
        counts[device, held] = per_device // len(held)
    return counts.tolist()


def make_result(
    method: str = "ecofed",
    *,
    seed: int = 0,
    rounds: int = 20,
    devices: int = 20,
    sampled: int = 5,
    every: int = 1,
    simulated: bool = False,
    classes: list[str] = CLASSES,
    saturated: float = 0.004,
    round_notes: dict[int, list[str]] | None = None,
    notes: list[str] | None = None,
    scores: RunScores | None = None,
    **settings: Any,
) -> RunResult:
    """One run whose ledger, rounds and totals agree."""
    config = Config(seed=seed, rounds=rounds, devices=devices, sampled_devices=sampled, evaluate_every=every)
    config = config.replace(**{"method": method, "data__partition": "shards", **settings})
    ledger = {kind: {"uplink": 0, "downlink": 0} for kind in PER_VISIT[method]}
    if method == "ecofed":
        ledger["front"] = {"uplink": 0, "downlink": 0}
    records = []
    seen: set[int] = set()
    limit, pace = CURVE[method]
    for number in range(1, rounds + 1):
        draw = generator(seed, "test-result", round_=number)
        chosen = sorted(draw.permutation(devices)[:sampled].tolist())
        refresh = method != "ecofed" or number % config.ecofed.period == 1 % config.ecofed.period
        moved = {
            kind: [up * sampled * refresh, down * sampled * refresh] for kind, (up, down) in PER_VISIT[method].items()
        }
        if method == "ecofed":
            moved["front"] = [0, 20_400 * len(set(chosen) - seen)]
        seen |= set(chosen)
        for kind, (up, down) in moved.items():
            ledger[kind]["uplink"] += up
            ledger[kind]["downlink"] += down
        accuracy = limit - (limit - 0.1) * np.exp(-number / pace) + draw.normal(0, 0.008)
        evaluated = number % every == 0 or number > rounds - 5
        records.append(
            RoundRecord(
                round=number,
                devices=chosen,
                uplink_bytes=sum(up for up, _ in moved.values()),
                downlink_bytes=sum(down for _, down in moved.values()),
                train_loss=2.3 * float(np.exp(-number / pace)) + 0.4,
                test_accuracy=round(float(accuracy), 4) if evaluated else None,
                test_loss=1.0 if evaluated else None,
                device_seconds=0.4,
                server_seconds=0.5,
                simulated_seconds=sum(sum(pair) for pair in moved.values()) / 2.5e6 + 4.0 if simulated else None,
                saturated_fraction=saturated if method == "ecofed" and refresh else None,
                refreshed=refresh if method == "ecofed" else None,
                notes=(round_notes or {}).get(number, []),
            )
        )
    accuracies = [record.test_accuracy for record in records if record.test_accuracy is not None]
    return RunResult(
        config=config.to_dict(),
        environment={"python": "3.11.9", "torch": "2.8.0", "platform": "Linux x86_64", "processor": "2 cores"},
        git_commit="892a92c1f4d1c0de5b0f4a1c9b1f2e3d4c5b6a79",
        ecofed_version="0.1.0",
        command=f"ecofed run quickstart --set method={method}",
        seed=seed,
        method=method,
        labels_leave_device=method != "classic-fl",
        rounds=records,
        ledger=ledger,
        retransmitted_bytes={"uplink": 0, "downlink": 0},
        totals=Totals(
            uplink_bytes=sum(record.uplink_bytes for record in records),
            downlink_bytes=sum(record.downlink_bytes for record in records),
            final_test_accuracy=float(np.mean(accuracies[-5:])),
            best_test_accuracy=max(accuracies),
            simulated_seconds=sum(r.simulated_seconds or 0.0 for r in records) if simulated else None,
            wall_seconds=41.7,
        ),
        data=DataSummary(
            name="Fashion-MNIST",
            source="Debian package dataset-fashion-mnist",
            train_samples=300 * devices,
            test_samples=2000,
            classes=classes,
            label_counts=label_counts(devices, len(classes), 300),
            floors=Floors(raw_bytes=300 * devices * 784, compressed_bytes=300 * devices * 512, compressed_as="PNG"),
        ),
        front={"id": "3f9a51c2", "origin": "shipped: vgg11-tiny-imagenet", "bytes": 20_400, "licence": "CC0"}
        if method == "ecofed"
        else None,
        notes=notes or [],
        scores=scores or RunScores(),
    )


def answered(right: float, classes: int = len(CLASSES), each: int = 20) -> Scores:
    """Of a network that gets so many of each class right, and takes the others for the next class."""
    labels_N = np.repeat(np.arange(classes), each)
    sure_N = np.tile(np.arange(each) < right * each, classes)
    tally = Tally(classes)
    tally.add(labels_N, np.where(sure_N, labels_N, (labels_N + 1) % classes), np.where(sure_N, 0.9, 0.55))
    return tally.scores()


@pytest.fixture(scope="session")
def of_answers() -> Callable[..., RunScores]:
    """Makes the scores of a run, from how many test images of each class its network gets right."""
    return lambda *counts: RunScores(test=answered(*counts))


@pytest.fixture(scope="session")
def make() -> Callable[..., RunResult]:
    """The factory of single runs."""
    return make_result


@pytest.fixture(scope="session")
def five_methods() -> Comparison:
    """The quickstart's comparison."""
    return Comparison(results=[make_result(method) for method in PAPER_METHODS], command="ecofed compare quickstart")


@pytest.fixture
def three_seeds() -> Comparison:
    """Two methods, three seeds each, with a clock."""
    runs = [make_result(m, seed=seed, simulated=True) for m in ("classic-fl", "ecofed") for seed in (0, 1, 2)]
    return Comparison(results=runs, command="ecofed compare skewed --set seed=0,1,2")
