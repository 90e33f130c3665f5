"""Devices that come and go, and stragglers: who is left out, what it costs, and that a plan foresees all of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from ecofed.config import Config, Settings
from ecofed.config.methods import PAPER_METHODS
from ecofed.costs.availability import Availability, needed_devices, read_trace
from ecofed.errors import ConfigError, EcoFedError
from ecofed.planning.planner import plan
from ecofed.reports.files import read_result
from ecofed.results import RunResult
from ecofed.runs import experiment
from slowly import quick

TINY = [
    "model.name=lenet",
    "model.width=0.5",
    "data.name=digits",
    "devices=6",
    "sampled_devices=4",
    "rounds=6",
    "batch_size=10",
    "data.samples_per_device=20",
    "test_samples=20",
    "initialisation=random",
    "normalisation=group",
    "codec.bits=4",
    "codec.entropy=none",
    "ecofed.refresh=period",
    "front.precision=full",
]


HEAD = "device,first_round,last_round\n"


def settings_of(*sets: str) -> Settings:
    return Settings.load(None, [*TINY, *sets])


def run(method: str, *sets: str) -> RunResult:
    return experiment.run(settings_of(*sets).for_method(method), report=False)


def there(config: Config, device: int) -> list[int]:
    availability = Availability(config)
    return [round_ for round_ in range(1, 201) if availability.is_there(device, round_)]


@pytest.mark.ci
@pytest.mark.parametrize("method", quick(PAPER_METHODS, "ecofed", "vanilla-dpfl"))
@pytest.mark.parametrize(
    "sets",
    [
        ("availability.share=0.5",),
        ("availability.share=0.7", "availability.cycle_rounds=3", "quorum=0.8"),
        ("availability.slow_share=0.4", "availability.slow_factor=3"),
        ("availability.slow_share=0.4", "availability.slow_factor=1000", "availability.deadline_seconds=60"),
    ],
    ids=["away", "below the quorum", "slow", "too late"],
)
def test_a_plan_foresees_who_is_there_and_how_long_it_takes(method: str, sets: tuple[str, ...]) -> None:
    result = run(method, "quorum=0.3", *sets)
    (row,) = plan(settings_of("quorum=0.3", *sets), [method]).at_cut
    planned = {kind: dict(counts) for kind, counts in row.ledger.items() if any(counts.values())}
    assert planned == {kind: counts for kind, counts in result.ledger.items() if any(counts.values())}
    assert row.total_seconds == pytest.approx(result.totals.simulated_seconds)
    assert row.exact_seconds


@pytest.mark.parametrize("quorum", ["quorum=3", "quorum=0.75"])
@pytest.mark.parametrize("method", ["closed-form", "ecofed"])
def test_a_plan_foresees_that_devices_which_have_answered_before_count(method: str, quorum: str) -> None:
    """A quorum is often reached with devices that are not asked again: those asked alone would be too few."""
    sets = ("devices=8", "rounds=8", "availability.share=0.6", "seed=2", "ecofed.refresh=once", quorum)
    result = run(method, *sets)
    (row,) = plan(settings_of(*sets), [method]).at_cut
    planned = {kind: dict(counts) for kind, counts in row.ledger.items() if any(counts.values())}
    assert planned == {kind: counts for kind, counts in result.ledger.items() if any(counts.values())}
    assert row.total_seconds == pytest.approx(result.totals.simulated_seconds)
    assert row.exact_seconds


@pytest.mark.ci
def test_who_is_away_is_not_asked_and_is_named() -> None:
    config = settings_of("availability.share=0.5").for_method("ecofed")
    result = run("ecofed", "availability.share=0.5", "ecofed.period=1", "quorum=0")
    availability = Availability(config)
    for record in result.rounds:
        away = [device for device in record.devices if not availability.is_there(device, record.round)]
        expected = f"away, and left out of this round: {', '.join(map(str, away))}"
        assert (expected in record.notes) is bool(away)
    everybody = run("ecofed", "ecofed.period=1")
    assert result.totals.uplink_bytes < everybody.totals.uplink_bytes


@pytest.mark.ci
def test_stragglers_make_rounds_longer_and_change_nothing_else() -> None:
    results = [run("lgl", *sets) for sets in ((), ("availability.slow_share=0.5", "availability.slow_factor=10"))]
    accuracies = [[record.test_accuracy for record in result.rounds] for result in results]
    assert accuracies[0] == accuracies[1]
    assert results[0].ledger == results[1].ledger
    plain, slow = ([record.simulated_seconds or 0.0 for record in result.rounds] for result in results)
    assert all(one <= other for one, other in zip(plain, slow, strict=True))
    assert max(slow) == pytest.approx(10 * max(plain), rel=0.2)  # all but the server's part


@pytest.mark.ci
def test_a_deadline_leaves_stragglers_out_and_bounds_the_round() -> None:
    sets = ("availability.slow_share=0.3", "availability.slow_factor=1000", "quorum=0")
    waiting = run("classic-fl", *sets)
    bounded = run("classic-fl", *sets, "availability.deadline_seconds=30")
    late = [record for record in bounded.rounds if any("deadline_seconds = 30" in note for note in record.notes)]
    assert late
    assert all(record.simulated_seconds == pytest.approx(30) for record in late)
    assert waiting.totals.simulated_seconds is not None
    assert waiting.totals.simulated_seconds > 100 * len(waiting.rounds) / 2
    # What they sent counts all the same.
    assert bounded.totals.uplink_bytes == waiting.totals.uplink_bytes


def test_too_few_in_time_skip_the_round(tmp_path: Path) -> None:
    sets = ("availability.slow_share=1", "availability.slow_factor=1e6", "availability.deadline_seconds=1")
    with pytest.raises(EcoFedError, match="nothing was trained in any of its 2 rounds"):
        experiment.run(settings_of(*sets, "rounds=2").for_method("ecofed"), out=tmp_path, report=False)
    first = read_result(tmp_path).rounds[0]
    assert any("round skipped" in note for note in first.notes)
    assert first.took_part == []


@pytest.mark.parametrize(("share", "cycle"), [(0.3, 1), (0.3, 10), (0.5, 4)])
def test_shares_and_cycles(share: float, cycle: int) -> None:
    config = Config().replace(availability__share=share, availability__cycle_rounds=cycle)
    rounds = [there(config, device) for device in range(20)]
    assert sum(map(len, rounds)) / 4000 == pytest.approx(share, abs=0.03)
    assert len({tuple(each) for each in rounds}) > 3  # not all at the same time
    if cycle > 1:
        first = rounds[0]
        assert {round_ + cycle for round_ in first if round_ <= 200 - cycle} <= set(first)
    assert there(config, 7) == rounds[7]


@pytest.mark.parametrize(("share", "cycle"), [(0.3, 2), (0.9, 4), (0.05, 4)])
def test_a_share_is_kept_that_is_no_whole_number_of_a_cycles_rounds(share: float, cycle: int) -> None:
    config = Config().replace(availability__share=share, availability__cycle_rounds=cycle)
    assert sum(len(there(config, device)) for device in range(20)) / 4000 == pytest.approx(share, abs=0.02)


def test_a_trace_says_who_is_there(tmp_path: Path) -> None:
    trace = tmp_path / "fleet.csv"
    trace.write_text("device,first_round,last_round\n# the tractor\n0,1,2\n0,5,5\n\n1,3,3\n")
    config = Config().replace(availability__trace=str(trace))
    assert there(config, 0) == [1, 2, 5]
    # As some editors and spreadsheets write it: the same.
    trace.write_bytes(b"\xef\xbb\xbf" + trace.read_bytes().replace(b"\n", b"\r\n").replace(b"0,5,5", b"0, 5 ,5"))
    assert there(config, 0) == [1, 2, 5]
    assert there(config, 1) == [3]
    assert len(there(config, 2)) == 200


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "cannot be read"),
        ("", "first line must be device,first_round,last_round"),
        ("device;first\n", "first line must be device,first_round,last_round"),
        (HEAD, "names no device"),
        (f"{HEAD}# 0,1,2\n\n", "names no device"),
        (f"{HEAD}0,3,2\n", "line 2: '0,3,2': rounds count from 1, and the first comes before the last"),
        (f"{HEAD}0,0,2\n", "line 2: '0,0,2': rounds count from 1"),
        (f"{HEAD}0,1,2\n\n-1,1,2\n", "line 4: '-1,1,2' must be a device"),
        (f"{HEAD}0,one,2\n", "'0,one,2' must be a device"),
        (f"{HEAD}0,1.0,2\n", "'0,1.0,2' must be a device"),
        (f"{HEAD}0,1_0,20\n", "'0,1_0,20' must be a device"),
        (f"{HEAD}0,\u0663,4\n", "must be a device"),
        (f"{HEAD}0,1\n", "'0,1' must be a device"),
        (f"{HEAD}0,1,2,3\n", "'0,1,2,3' must be a device"),
        (f"{HEAD}0,1,{'9' * 5000}\n", "must be a device"),
        (f"{HEAD}100,1,2\n", "line 2: there is no device 100; devices are 0 to 99"),
        (f"{HEAD}7,1,4\n3,1,9\n7,4,6\n", "line 4: '7,4,6': device 7 is there in rounds 1 to 4 already"),
        (f"{HEAD}7,1,4\n7,1,4\n", "device 7 is there in rounds 1 to 4 already"),
        (f"{HEAD}7,3,3\n7,1,4\n", "device 7 is there in rounds 3 to 3 already"),
        ("d\u00e9vice\n".encode("latin-1"), "line 1 is not UTF-8 text"),
        (HEAD.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"0," + b"x" * 200_000, "field larger than|first line must be"),
    ],
)
def test_a_bad_trace_is_one_line(text: str | bytes | None, error: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    if text is not None:
        trace.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ConfigError, match=error) as caught:
        Availability(Config().replace(availability__trace=str(trace)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"share": 0},
        {"share": 1.5},
        {"cycle_rounds": 0},
        {"slow_share": 2},
        {"slow_factor": 0.5},
        {"deadline_seconds": 0},
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"availability.{next(iter(changes))}"):
        Config().replace(**{f"availability__{key}": value for key, value in changes.items()})


def test_a_quorum_is_a_share_or_a_number() -> None:
    assert [needed_devices(quorum, 5) for quorum in (0, 0.5, 1, 2, 9)] == [0, 3, 5, 2, 5]
    # In floating-point numbers 0.56 * 25 is more than 14.
    assert [needed_devices(share, asked) for share, asked in ((0.56, 25), (0.07, 100), (0.57, 25))] == [14, 7, 15]


def test_a_long_trace_is_read_at_once(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    lines = [f"0,{3 * number + 1},{3 * number + 2}" for number in range(50_000)]
    trace.write_text("device,first_round,last_round\n" + "\n".join(lines))
    began = time.process_time()
    assert len(read_trace(trace, 1)[0]) == 50_000
    assert time.process_time() - began < 10  # comparing each line with all before it takes minutes
    trace.write_text("device,first_round,last_round\n0,5,9\n0,1,3\n0,2,2\n")
    with pytest.raises(ConfigError, match=r"line 4: '0,2,2': device 0 is there in rounds 1 to 3 already"):
        read_trace(trace, 1)
