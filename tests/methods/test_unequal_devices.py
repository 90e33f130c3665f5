"""Devices that stop at an earlier layer: the server completes the front, and training knows no difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import StopAfter, assert_same_weights, outcome, run, started
from tiny import tiny_config as config_of

from ecofed.config.schema import Config
from ecofed.errors import ConfigError, WireError
from ecofed.methods.ecofed import EcoFed
from ecofed.wire import InstallFront, Refresh, Upload

#: Devices 0 and 2 stop after the first block.
MIXED: dict[str, Any] = {"ecofed__device_cuts": "block1,block2"}
LOSSLESS = MIXED | {"ecofed__early_bits": 32}


def tiny_config(method: str, **changes: Any) -> Config:
    """Plain settings of ecofed, whatever the defaults are."""
    plain: dict[str, Any] = {
        "codec__bits": 4,
        "codec__entropy": "none",
        "ecofed__refresh": "period",
        "front__precision": "full",
    }
    return config_of(method, **plain | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"codec__name": "float32"}, marks=pytest.mark.slow),
        {"codec__name": "minmax", "codec__bits": 8, "normalisation": "batch", "ecofed__server": "fedavg"},
        pytest.param({"normalisation": "group"}, marks=pytest.mark.slow),
        {"front__precision": "int8", "codec__entropy": "deflate"},
        {"model__name": "vgg11", "model__width": 0.1, "model__head_width": 16},
        {"model__name": "resnet9", "model__width": 0.1},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())) or "default",
)
def test_with_lossless_early_uploads_nothing_changes_but_the_bytes(changes: dict[str, Any], tmp_path: Path) -> None:
    alike = run(tiny_config("ecofed", **changes), out=tmp_path / "alike", report=False)
    mixed = run(tiny_config("ecofed", **changes, **LOSSLESS), out=tmp_path / "mixed", report=False)
    assert [r.test_accuracy for r in mixed.rounds] == [r.test_accuracy for r in alike.rounds]
    assert_same_weights(tmp_path / "mixed", tmp_path / "alike", "ecofed")
    assert mixed.ledger["activations"]["uplink"] > alike.ledger["activations"]["uplink"]
    assert mixed.ledger["front"]["downlink"] < alike.ledger["front"]["downlink"]
    assert mixed.ledger["labels"] == alike.ledger["labels"]


def test_the_buffer_holds_the_common_cut_and_eight_bits_come_close() -> None:
    buffers = []
    for changes in ({}, MIXED, LOSSLESS):
        method, _ = started(tiny_config("ecofed", codec__bits=8, **changes))
        assert isinstance(method, EcoFed)
        method.train_round(1, [0, 1])
        buffers.append(method.buffer)
    exact, quantised, lossless = ([buffer.latest(device).rows for device in (0, 1)] for buffer in buffers)
    assert np.array_equal(exact[0], lossless[0])
    assert np.array_equal(exact[1], quantised[1])  # device 1 runs the whole front
    difference = np.abs(exact[0].astype(int) - quantised[0].astype(int))
    assert difference.mean() < 3
    assert difference.max() > 0


def test_a_weak_device_is_sent_less_of_the_front_and_sends_more() -> None:
    result = run(tiny_config("ecofed", rounds=1, sampled_devices=4, **MIXED))
    whole = run(tiny_config("ecofed", rounds=1, sampled_devices=4))
    # LeNet at half width: 16 channels of 16x16 after the first block (8 bits), 32 of 8x8 after the second (4 bits).
    rows = {"block1": 16 * 16 * 16, "block2": 32 * 8 * 8 // 2}
    assert whole.ledger["activations"]["uplink"] == 80 * rows["block2"]
    assert result.ledger["activations"]["uplink"] == 40 * rows["block1"] + 40 * rows["block2"]
    assert result.ledger["front"]["downlink"] < whole.ledger["front"]["downlink"]
    assert result.rounds[0].timeline is not None
    assert ["server", "infer"] in [row[:2] for row in result.rounds[0].timeline]


@pytest.mark.ci
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    config = tiny_config("ecofed", rounds=4, ecofed__period=1, **MIXED)
    whole = run(config, out=tmp_path / "whole", report=False)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(2), report=False)
    parts = run(config, out=tmp_path / "parts", resume=True, report=False)
    assert outcome(parts) == outcome(whole)


def test_auto_chooses_by_profile_and_says_so() -> None:
    # On a fast link a slow processor is what holds up a round; on a slow one it is the bytes.
    fleet = {"clock__device": "raspberry-pi-zero-2,raspberry-pi-5", "ecofed__device_cuts": "auto"}
    model = {"rounds": 1, "test_samples": 20}
    fast, slow = (
        run(tiny_config("ecofed", clock__link=link, **fleet, **model), report=False) for link in ("wifi", "lora")
    )
    assert any("raspberry-pi-zero-2 on wifi: block1; raspberry-pi-5 on wifi: block2" in note for note in fast.notes)
    assert any("raspberry-pi-zero-2 on lora: block2; raspberry-pi-5 on lora: block2" in note for note in slow.notes)
    alike = run(tiny_config("ecofed", clock__link="wifi", clock__device=fleet["clock__device"], **model), report=False)
    assert fast.totals.simulated_seconds is not None
    assert alike.totals.simulated_seconds is not None
    assert fast.totals.simulated_seconds < alike.totals.simulated_seconds


@pytest.mark.slow
def test_processes_give_the_same(tmp_path: Path) -> None:
    results = [
        run(tiny_config("ecofed", rounds=2, devices=2, runtime=runtime, **MIXED), out=tmp_path / runtime, report=False)
        for runtime in ("in-process", "processes")
    ]
    assert outcome(results[0]) == outcome(results[1])


def test_an_upload_of_another_cut_is_refused() -> None:
    method, prepared = started(tiny_config("ecofed", **MIXED))
    assert isinstance(method, EcoFed)
    assert [front and front.cut for front in prepared.early] == ["block1", None]
    asks = method._opening(0, 1)
    assert isinstance(asks[0].request, InstallFront)
    assert isinstance(asks[1].request, Refresh)
    assert asks[1].request.front_id != method.bundle.id
    upload = Upload(
        round=1,
        view=0,
        front_id=method.bundle.id,
        samples=0,
        saturated_fraction=0.0,
        codes=b"",
        scales=np.empty(0, np.float32),
        labels_N=np.empty(0, np.uint8),
    )
    with pytest.raises(
        WireError, match=f"upload of activations of front {method.bundle.id}, not {asks[1].request.front_id}"
    ):
        method._opened(0, [upload])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"ecofed__device_cuts": "block3"}, "'block3' is not a layer before the cut"),
        ({"ecofed__device_cuts": "blok1"}, "did you mean 'block1'"),
        ({"ecofed__device_cuts": "block1:0"}, "a count in 1..10000"),
        ({"ecofed__device_cuts": "block1:99999999999"}, "a count in 1..10000"),
        ({"ecofed__device_cuts": "block1.conv"}, "are negative"),
        ({"ecofed__early_bits": 9}, "must be in 1..8, or 32"),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        run(tiny_config("ecofed", **changes))
