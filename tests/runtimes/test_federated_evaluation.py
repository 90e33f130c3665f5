"""Devices find out themselves how good the trained network is; a run then needs no test images on the server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import prepared_for, small_config
from test_nonsense import VILLAIN, Corrupted, refusal, replaced

import ecofed
from ecofed.config import Config
from ecofed.config.held_out import held_out
from ecofed.config.methods import facts_of
from ecofed.devices.local_test import LocalTest
from ecofed.errors import ConfigError, DeviceError, MissingExtraError
from ecofed.methods.plausible import MAX_SAMPLES, check_counts
from ecofed.onnx import session
from ecofed.planning.planner import plan_run
from ecofed.relearning.changes import alone
from ecofed.reports.words import accuracy_sentence, key_figures
from ecofed.results import RunResult
from ecofed.results.scores import RunScores
from ecofed.runs.experiment import run
from ecofed.wire import Counted, CountRight, Failure, InstallNetwork, Message, decode, encode

ALONE: dict[str, Any] = {
    "validation__fraction": 0.4,
    "validation__on_devices": True,
    "delivery": "float",
    "test_samples": 0,
    "sampled_devices": 4,
}
#: A network whose front that comes with the package ends in a bottleneck.
BOTTLENECK = {
    "delivery": "int8",
    "model__name": "vgg11",
    "model__width": 0.25,
    "model__head_width": 16,
    "front__name": "vgg11-w0.25-grey-256b",
    "codec__bits": 2,
}


@pytest.fixture(scope="module", autouse=True)
def _needs_the_runtime() -> None:
    pytest.importorskip("onnxruntime")


def on_devices(result: RunResult) -> dict[int, tuple[int, int]]:
    """Samples and right answers, by device."""
    assert result.scores.on_devices is not None
    own = result.scores.on_devices.devices
    assert own is not None
    return dict(zip(own.devices, zip(own.samples, own.right, strict=True), strict=True))


@pytest.mark.ci
def test_from_run_to_report_without_test_images_over_processes(pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, **ALONE)
    here = run(config, out=tmp_path / "here")
    apart = run(config.replace(runtime="processes"), out=tmp_path / "apart", report=False)
    assert apart.scores == here.scores
    assert apart.ledger == here.ledger

    found = here.scores.on_devices
    assert found is not None
    assert found.accuracy is not None
    assert here.totals.final_test_accuracy == found.accuracy
    assert {record.test_accuracy for record in here.rounds} == {None}
    # Bytes: the network down to each device, and counts of the classes up, 4 bytes each.
    assert here.ledger["statistics"]["uplink"] == 4 * 2 * 4 * 4
    (text,) = (note for note in here.notes if "which tested it" in note)
    size = int(text.partition(" bytes")[0].rpartition(" ")[2].replace(",", ""))
    assert here.ledger["weights"]["downlink"] == 4 * size

    sure = f"95 % interval {found.low:.2f} to {found.high:.2f}"
    told = f"{found.samples} samples that 4 devices held out and tested themselves"
    assert accuracy_sentence(here) == f"final accuracy: of the network after the last round ({sure}), on {told}"
    assert key_figures(here)[0].name == "accuracy on the devices"
    guess = "; no better than guessing, 0.33" if found.low < 1 / 3 else ""
    assert key_figures(here)[0].detail == f"ecofed, what the devices found after the last round ({sure}){guess}"
    page = (tmp_path / "here" / "report.html").read_text()
    for words in (sure, told, "the devices themselves", "Among devices"):
        assert words in page
    assert json.loads((tmp_path / "here" / "result.json").read_text())["scores"]["on_devices"]["right"] == found.right
    judged = ecofed.evaluate(tmp_path / "here")  # there are test images, which the run was told to leave aside
    assert judged.recorded == here.scores
    assert judged.of_devices == {"samples that devices held out and tested themselves": found}
    assert (judged.samples, judged.scores.devices) == (16, None)
    assert ecofed.evaluate(tmp_path / "here" / "model.safetensors").recorded == RunScores()


DELIVERED_ONLY = {"validation__on_devices": False, "validation__fraction": 0.0, "test_samples": 4}


@pytest.mark.ci
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ecofed", {}),
        ("ecofed", BOTTLENECK),
        ("classic-fl", {"initialisation": "random"}),
        ("send-images", {"normalisation": "batch"}),
        ("fedgkt", DELIVERED_ONLY),
        ("closed-form", DELIVERED_ONLY | {"privacy__epsilon": 8.0}),
    ],
    ids=["ecofed", "ecofed, int8, over a bottleneck", "classic-fl", "send-images", "fedgkt, delivered only", "private"],
)
def test_what_comes_after_the_last_round_is_foreseen(method: str, changes: dict[str, Any], pictures: Path) -> None:
    config = small_config(pictures, method, **{**ALONE, **changes}, rounds=2)
    result, planned = run(config, report=False), plan_run(config)
    assert planned.delivery_bytes > 0
    assert planned.delivery_seconds > 0
    for kind in ("weights", "statistics", "control"):
        assert planned.ledger.get(kind, {"uplink": 0, "downlink": 0}) == result.ledger[kind]
    rounds = [record.simulated_seconds or 0.0 for record in result.rounds]
    assert result.totals.simulated_seconds == pytest.approx(sum(rounds) + planned.delivery_seconds)
    if method != "send-images":  # whose pictures have lengths that are foreseen from some of them
        assert planned.total_seconds == pytest.approx(result.totals.simulated_seconds)
        assert planned.total_downlink_bytes == result.totals.downlink_bytes
        assert planned.total_uplink_bytes == result.totals.uplink_bytes


@pytest.mark.parametrize("method", ["classic-fl", "send-images", "fedgkt", "closed-form"])
def test_devices_count_what_the_saved_network_gets_right(method: str, pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, method, **ALONE, rounds=1)
    result = run(config, out=tmp_path, report=False)
    prepared, network = prepared_for(config), ecofed.load_model(tmp_path)
    train, expected = prepared.dataset.train, {}
    for device, share in enumerate(prepared.shares):
        own = share[held_out(config, device, np.arange(len(share)))]
        assert not set(own) & set(prepared.parts[device])
        assert len(own) + len(prepared.parts[device]) == len(share)
        answers = network.logits(train.images_NHWC[own]).argmax(dim=1).numpy() if len(own) else np.empty(0)
        expected[device] = (len(own), int((answers == train.labels_N[own]).sum()))
    assert on_devices(result) == {device: pair for device, pair in expected.items() if pair[0]}
    assert result.data.train_samples == sum(map(len, prepared.parts))
    assert sum(map(sum, result.data.label_counts)) == result.data.train_samples


def test_with_test_images_both_are_found(pictures: Path) -> None:
    result = run(small_config(pictures, **(ALONE | {"test_samples": 16})))
    assert result.scores.test is not None
    assert result.rounds[-1].test_accuracy == result.scores.test.accuracy
    assert result.scores.on_devices is not None
    assert result.scores.held_out is None


@pytest.fixture(scope="module")
def honest(pictures: Path) -> RunResult:
    """A run of one round in which every device says what is true."""
    return run(small_config(pictures, **ALONE, rounds=1))


def larger(message: Message) -> bytes:
    return replaced(message, samples_K=np.full(4, 2 * MAX_SAMPLES, np.uint32))


def more_right(message: Message) -> bytes:
    return replaced(message, right_K=np.full(4, 9, np.uint32))


def of_other_classes(message: Message) -> bytes:
    return replaced(message, samples_K=np.ones(5, np.uint32), right_K=np.ones(5, np.uint32))


def of_more_samples(message: Message) -> bytes:
    return replaced(message, samples_K=np.full(4, 100, np.uint32), right_K=np.full(4, 100, np.uint32))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (larger, "no device may have more than"),
        (more_right, "more right answers than samples"),
        (of_other_classes, r"counts of \(5,\) and \(5,\) for 4 classes"),
        (of_more_samples, "400 held-out samples, which do not go with"),
        (refusal, "the disk is full"),
    ],
)
def test_absurd_counts_cost_only_the_device_that_sends_them(
    change: Callable[[Message], bytes], reason: str, pictures: Path, honest: RunResult
) -> None:
    config = small_config(pictures, **ALONE, rounds=1)

    def lies(message: Message) -> bytes:
        return change(message) if isinstance(message, Counted) else encode(message).data

    result = run(config, connect=lambda prepared: Corrupted(prepared.worker, lies))
    told = on_devices(honest)
    assert on_devices(result) == {device: pair for device, pair in told.items() if device != VILLAIN}
    (note,) = (text for text in result.notes if text.startswith(f"device {VILLAIN}: "))
    assert re.search(reason, note)
    assert any("went to 3 of 4 devices, which tested it" in text for text in result.notes)


def test_where_nobody_answers_nothing_is_known(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: LocalTest, _network: bytes) -> Any:
        raise DeviceError("no room")

    monkeypatch.setattr(LocalTest, "counts", broken)
    result = run(small_config(pictures, **ALONE, rounds=1))
    assert result.scores.on_devices is None
    assert result.totals.final_test_accuracy == 0
    assert any("was not judged at all, and its accuracy stands as 0" in text for text in result.notes)


def test_a_device_is_asked_only_in_such_a_run_and_tests_what_it_has_got(pictures: Path) -> None:
    request = encode(CountRight(round=1)).data
    for config, reason in (
        (small_config(pictures), "no network has been installed"),
        (small_config(pictures, **ALONE), "no network has been installed"),
    ):
        reply, _ = decode(prepared_for(config).worker(0).handle(request))
        assert isinstance(reply, Failure)
        assert reason in reply.reason
    worker = prepared_for(small_config(pictures, **ALONE)).worker(0)
    worker.handle(encode(InstallNetwork(round=1, network=b"no network")).data)
    reply, _ = decode(worker.handle(request))
    assert isinstance(reply, Failure)
    assert reply.reason.startswith("not a usable ONNX network")


def test_what_counts_may_say() -> None:
    config = Config().replace(validation__fraction=0.4)
    held = int(held_out(config, 7, np.arange(50)).sum())
    samples_K, right_K = np.array([held, 0], np.uint32), np.array([1, 0], np.uint32)
    check_counts(config, 7, samples_K, right_K, 2, 50 - held)
    check_counts(config, 7, samples_K * 3, right_K, 2, None)  # who has never said how many it trains on
    with pytest.raises(DeviceError, match="do not go with"):
        check_counts(config, 7, samples_K * 3, right_K, 2, 50 - held)


def test_to_learn_again_asks_no_device(pictures: Path) -> None:
    """What devices held out is not in the kept buffer: test images judge, or a share of what is there."""
    without = small_config(pictures, **ALONE)
    for config, expected in (
        (without, 0.4),
        (without.replace(test_samples=16), 0.0),
        (without.replace(validation__on_devices=False), 0.4),
    ):
        again = alone(config)
        assert (again.delivery, again.validation.on_devices) == ("none", False)
        assert again.validation.fraction == expected


def test_what_it_needs_is_said_before_anything_is_trained(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"validation.on_devices = True: needs delivery=float or delivery=int8"):
        run(small_config(pictures, **(ALONE | {"delivery": "none"})))
    with monkeypatch.context() as without:
        without.setattr(facts_of("closed-form"), "has_network", False)  # as a method of a plug-in may be
        with pytest.raises(ConfigError, match="trains, and it trains none that could be sent"):
            run(small_config(pictures, "closed-form", **ALONE))
    with pytest.raises(ConfigError, match=r"needs validation.fraction above 0"):
        small_config(pictures, validation__on_devices=True)
    with pytest.raises(ConfigError, match=r"hold out on the devices, with validation.on_devices=true"):
        run(small_config(pictures, "lgl", validation__fraction=0.2))
    monkeypatch.setattr(session, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        run(small_config(pictures, **ALONE))
