"""The forecast equals the ledger of a real run, to the byte."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ecofed.config.methods import PAPER_METHODS
from ecofed.config.schema import Config
from ecofed.costs.exchange import by_kind
from ecofed.costs.forecast import Forecast
from ecofed.methods import METHOD_CLASSES, sample_devices
from ecofed.planning.cut_network import build_workload, counted_network, stand_in_bundle
from ecofed.runs import experiment
from plain import PLAIN_CHANGES
from slowly import quick

TINY = Config().replace(
    rounds=4,
    devices=6,
    sampled_devices=3,
    batch_size=8,
    test_samples=20,
    initialisation="random",
    normalisation="group",
    data__name="digits",
    data__partition="quantity",
    data__samples_per_device=30,
    **PLAIN_CHANGES,
)


def forecast(config: Config, samples: list[int]) -> dict[str, dict[str, int]]:
    network = counted_network(config, 1, 10)
    bundle = stand_in_bundle(config, network, "block2", 1)
    work = build_workload(config, network, "block2", in_channels=1, classes=10, bundle=bundle)
    course = Forecast(METHOD_CLASSES[config.method], config, work, samples)
    rounds = [course.round(round_, sample_devices(config, round_))[0] for round_ in range(1, config.rounds + 1)]
    return by_kind(exchange for round_ in rounds for exchange in round_)


def nonzero(ledger: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {kind: dict(row) for kind, row in ledger.items() if any(row.values())}


def check(config: Config) -> None:
    result = experiment.run(config, report=False)
    samples = [sum(row) for row in result.data.label_counts]
    assert nonzero(forecast(config, samples)) == nonzero(result.ledger)


@pytest.mark.parametrize("model", quick(["vgg11", "resnet9", "lenet"], "vgg11", "lenet"))
@pytest.mark.parametrize("method", PAPER_METHODS)
def test_every_method_and_model(method: str, model: str) -> None:
    check(TINY.replace(method=method, model__name=model, model__width=0.1, model__head_width=16, rounds=2))


@pytest.mark.parametrize(
    "changes",
    [
        {"codec__name": "minmax", "codec__bits": 8, "normalisation": "batch", "ecofed__server": "fedavg"},
        {"codec__name": "float32", "normalisation": "frozen"},
        {"codec__bits": 3, "ecofed__refresh": "once", "front__delivery": "preinstalled"},
        {"ecofed__views": 1, "ecofed__period": 1},
        {"ecofed__refresh": "spread", "ecofed__uplink_budget_bytes": 20_000},
        {"method": "lgl", "local_epochs": 2},
        {"method": "fedgkt", "local_epochs": 2},
        {"method": "closed-form", "normalisation": "frozen"},
        {"method": "closed-form", "normalisation": "frozen", "codec__name": "float32"},
        {"method": "vanilla-dpfl", "local_epochs": 2, "vanilla_dpfl__version": "v2"},
    ],
    ids=lambda changes: "-".join(str(value) for value in changes.values()),
)
def test_settings(changes: dict[str, Any]) -> None:
    check(TINY.replace(model__name="lenet", model__width=0.25, **changes))


def test_the_steps_on_the_buffer_are_foreseen() -> None:
    config = TINY.replace(model__name="lenet", ecofed__period=3)
    samples = [30, 30, 7, 0, 30, 30]
    network = counted_network(config, 1, 10)
    bundle = stand_in_bundle(config, network, "block2", 1)
    course = Forecast(
        METHOD_CLASSES["ecofed"],
        config,
        build_workload(config, network, "block2", in_channels=1, classes=10, bundle=bundle),
        samples,
    )
    first, steps = course.round(1, [0, 2, 3])
    assert Counter(exchange.request for exchange in first) == {"InstallFront": 3, "Refresh": 3}
    assert steps == 4 + 1
    replay, steps = course.round(2, [1, 4, 5])
    assert (replay, steps) == ([], 4 + 1)
