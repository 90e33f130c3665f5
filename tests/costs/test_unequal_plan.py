"""Plans of fleets whose devices stop at different layers: bytes of the run, who fits, and who should stop where."""

from __future__ import annotations

import pytest

from ecofed.config import Settings
from ecofed.planning.method_plan import MethodPlan
from ecofed.planning.pace import keep_pace
from ecofed.planning.planner import plan
from ecofed.runs import experiment

TINY = [
    "model.name=lenet",
    "data.name=digits",
    "devices=6",
    "sampled_devices=3",
    "rounds=4",
    "batch_size=10",
    "data.samples_per_device=20",
    "test_samples=20",
    "initialisation=random",
    "normalisation=group",
    "clock.device=raspberry-pi-3,raspberry-pi-5",
    "codec.bits=4",
    "codec.entropy=none",
    "ecofed.refresh=period",
    "front.precision=full",
]


def only_ecofed(*sets: str, preset: str | None = None) -> MethodPlan:
    settings = Settings.load(preset, [*([] if preset else TINY), *sets])
    return plan(settings, ["ecofed"]).at_cut[0]


@pytest.mark.ci
@pytest.mark.parametrize(
    "sets",
    [
        ("ecofed.device_cuts=block1,block2",),
        ("ecofed.device_cuts=block1:2,block2", "ecofed.early_bits=32", "data.partition=quantity"),
        ("ecofed.device_cuts=auto", "ecofed.early_bits=4", "clock.link=wifi", "model.width=1"),
        ("ecofed.device_cuts=block1,block2", "ecofed.refresh=spread", "ecofed.uplink_budget_bytes=600000"),
        ("ecofed.device_cuts=block1,block2", "front.precision=int8", "normalisation=frozen"),
    ],
    ids=lambda sets: " ".join(sets),
)
def test_bytes_and_time_are_those_of_the_run(sets: tuple[str, ...]) -> None:
    row = only_ecofed(*sets)
    result = experiment.run(Settings.load(None, [*TINY, *sets]).for_method("ecofed"), report=False)
    planned = {kind: dict(counts) for kind, counts in row.ledger.items() if any(counts.values())}
    assert planned == {kind: counts for kind, counts in result.ledger.items() if any(counts.values())}
    assert row.total_seconds == pytest.approx(result.totals.simulated_seconds)


def test_a_compact_fronts_delivery_is_foreseen_to_the_byte() -> None:
    sets = ("front.precision=compact", "normalisation=frozen")
    row = only_ecofed(*sets)
    result = experiment.run(Settings.load(None, [*TINY, *sets]).for_method("ecofed"), report=False)
    assert row.ledger["front"]["downlink"] == result.ledger["front"]["downlink"]
    assert row.ledger["front"]["downlink"] < 0.55 * only_ecofed("normalisation=frozen").ledger["front"]["downlink"]


@pytest.mark.ci
def test_entropy_coded_early_uploads_are_foreseen_within_five_percent() -> None:
    small = ("data.samples_per_device=50", "model.width=0.5")
    sets = ("ecofed.device_cuts=block1,block2", "codec.entropy=deflate", *small)
    row = only_ecofed(*sets)
    result = experiment.run(Settings.load(None, [*TINY, *sets]).for_method("ecofed"), report=False)
    assert row.total_uplink_bytes == pytest.approx(result.totals.uplink_bytes, rel=0.05)


@pytest.mark.ci
def test_the_papers_fleet_with_a_pi_3_and_a_pi_5_is_faster_with_cuts_of_its_own() -> None:
    fleet = [
        "rounds=4",
        "clock.device=raspberry-pi-3,raspberry-pi-5",
        "clock.link=wifi",
        "clock.server=data-centre-gpu",
    ]
    preset = "paper-vgg11-cifar10"
    alike = only_ecofed(*fleet, preset=preset)
    own = only_ecofed(*fleet, "ecofed.device_cuts=auto", preset=preset)
    assert dict(own.early_cuts) == {"raspberry-pi-3": ["block1"]}
    assert alike.early_cuts == {}
    assert own.seconds_per_round < alike.seconds_per_round
    assert own.total_uplink_bytes > alike.total_uplink_bytes
    assert own.device_flops < alike.device_flops


def test_everybody_keeps_the_pace_of_the_slowest_and_sends_no_more_than_that_takes() -> None:
    slow = {"block1": 10.0, "block2": 30.0}
    fast = {"block1": 4.0, "block2": 6.0}
    assert keep_pace([slow, fast]) == ["block1", "block2"]
    assert keep_pace([slow]) == ["block1"]
    # A tenth slower is not worth more bytes; what sends more slowly than it computes stays at the last cut.
    assert keep_pace([{"block1": 10.0, "block2": 10.9}, fast]) == ["block2", "block2"]
    assert keep_pace([{"block1": 50.0, "block2": 30.0}, fast]) == ["block2", "block2"]
