"""Awkward fleets: each works, or is refused with one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import StopAfter, assert_same_weights, outcome, run, started, tiny_config

from ecofed.config.methods import METHODS
from ecofed.devices.local_data import LocalData
from ecofed.errors import CheckpointError, ConfigError, EcoFedError
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.transport import Answer, Transport
from ecofed.models import load_arrays, state_arrays
from ecofed.results import RunResult
from ecofed.runs import experiment
from ecofed.runtimes import InProcessTransport
from ecofed.wire import Distilled, Failure, InstallFront, LocallyTrained, Refresh, Upload, decode, encode
from slowly import quick


@pytest.mark.parametrize("method", quick(METHODS, "ecofed", "classic-fl", "vanilla-dpfl", "closed-form"))
@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 7},  # 20 samples are not a multiple
        {"batch_size": 500},  # one batch, smaller than configured
        {"data__samples_per_device": 1},
        {"data__shards_per_device": 1},  # one class, or two
        {"data__partition": "dirichlet", "data__alpha": 0.001, "sampled_devices": 4, "devices": 12},  # some have none
        {"data__partition": "quantity", "data__alpha": 0.1},
    ],
    ids=["not-divisible", "one-batch", "one-sample", "one-class", "empty-devices", "unequal"],
)
def test_awkward_devices_train(method: str, changes: dict[str, Any]) -> None:
    """Everybody takes part with all that it has: the labels that travel are those of the devices' samples."""
    result = run(tiny_config(method, rounds=2, **changes))
    samples = [sum(counts) for counts in result.data.label_counts]
    first, second = ([samples[device] for device in record.devices] for record in result.rounds)
    met = {device for record in result.rounds for device in record.devices}
    travelling = {
        **dict.fromkeys(("vanilla-dpfl", "lgl", "fedgkt"), sum(first) + sum(second)),
        "ecofed": sum(first),  # uploads in every second round
        "send-images": sum(samples[device] for device in met),
    }
    assert result.ledger["labels"]["uplink"] == travelling.get(method, 0)
    assert [record.notes for record in result.rounds] == [[], []]
    assert np.isfinite(losses_of(result)).all()
    assert [record.train_loss is None for record in result.rounds] == [method == "closed-form"] * 2


def losses_of(result: RunResult) -> list[float]:
    """Of every round; each was evaluated."""
    losses = [record.test_loss for record in result.rounds if record.test_loss is not None]
    assert len(losses) == len(result.rounds) > 0
    return losses


@pytest.mark.parametrize("method", ["vanilla-dpfl", "ecofed"])
def test_one_sample_with_batch_statistics(method: str) -> None:
    """VGG11's deepest layer sees 2x2 positions, so even one sample has a variance."""
    changes = {"model__name": "vgg11", "model__width": 0.125, "model__head_width": 8, "normalisation": "batch"}
    result = run(tiny_config(method, rounds=1, data__samples_per_device=1, ecofed__server="fedavg", **changes))
    assert np.isfinite(losses_of(result)).all()


def test_more_devices_than_samples_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"devices.*2000|2000.*devices") as error:
        run(tiny_config("ecofed", devices=2000))
    assert "\n" not in str(error.value)


class HugeActivations:
    """Device 0 uploads numbers that are finite, and that no training survives."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def exchange_all(self, requests: Any, deadline: float | None) -> Iterator[tuple[int, Answer]]:
        for device, answer in self.inner.exchange_all(requests, deadline):
            replies = [self._worse(reply) for reply in answer.replies] if device == 0 else answer.replies
            yield device, replace(answer, replies=replies)

    def _worse(self, reply: bytes) -> bytes:
        message = decode(reply)[0]
        if isinstance(message, Upload):
            return encode(replace(message, codes=np.full(len(message.codes) // 4, 1e30, "<f4").tobytes())).data
        if isinstance(message, (LocallyTrained, Distilled)):
            return encode(replace(message, activation_NCHW=np.full_like(message.activation_NCHW, 1e30))).data
        return reply


@pytest.mark.parametrize("method", ["lgl", "fedgkt", "ecofed"])
def test_a_device_with_huge_activations_costs_only_itself(method: str) -> None:
    changes = {"codec__name": "float32", "codec__entropy": "none"} if method == "ecofed" else {}
    config = tiny_config(method, rounds=2, sampled_devices=4, ecofed__period=1, **changes)
    result = run(config, connect=lambda prepared: HugeActivations(InProcessTransport(prepared.worker)))
    assert np.isfinite(losses_of(result)).all()
    for record in result.rounds:
        assert [note.partition(":")[0] for note in record.notes] == ["device 0"]
        assert record.notes[0].endswith("left out of this round")


def test_every_local_epoch_sees_other_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[int, set[bytes]] = {}

    def noted(self: LocalData, samples_B: np.ndarray, view: int) -> Any:
        x_BCHW = inputs(self, samples_B, view)
        for sample, x_CHW in zip(samples_B.tolist(), x_BCHW, strict=True):
            seen.setdefault(sample, set()).add(x_CHW.numpy().tobytes())
        return x_BCHW

    inputs = LocalData.inputs
    monkeypatch.setattr(LocalData, "inputs", noted)
    run(tiny_config("classic-fl", rounds=1, devices=1, sampled_devices=1, local_epochs=4))
    assert np.mean([len(versions) for versions in seen.values()]) > 3.5  # two of 81 crops may be the same


@pytest.mark.ci
def test_a_run_in_the_folder_of_another_can_be_continued(tmp_path: Path) -> None:
    first, second = tiny_config("ecofed"), tiny_config("ecofed", seed=1)
    run(first, out=tmp_path, report=False)
    with pytest.raises(KeyboardInterrupt):
        run(second, out=tmp_path, overwrite=True, observer=StopAfter(2), report=False)
    assert outcome(run(second, out=tmp_path, resume=True, report=False)) == outcome(run(second))


@pytest.mark.ci
def test_negative_activations_that_the_codec_cuts_off_are_told() -> None:
    changes = {"model__name": "resnet9", "model__width": 0.0625, "model__cut": "block2.norm", "rounds": 1}
    notes = run(tiny_config("ecofed", **changes)).notes
    assert any("of the activations after 'block2.norm' are negative, and codec.name=uniform makes" in n for n in notes)
    told = run(tiny_config("ecofed", **changes, codec__name="minmax", codec__bits=8)).notes
    assert [note for note in told if "are on no device" not in note] == []  # shards leave some images over


def test_a_replay_round_with_fewer_buffered_devices_than_sampled_ones() -> None:
    """One device has uploaded; the next round samples three and replays that one."""
    config = tiny_config("ecofed", devices=4, sampled_devices=3)
    method, _ = started(config)
    method.train_round(1, [2])
    outcome_ = method.train_round(2, [0, 1, 3])
    assert outcome_.refreshed is False
    assert outcome_.train_loss is not None
    assert outcome_.notes == []


def test_an_empty_buffer_is_said() -> None:
    method, _ = started(tiny_config("ecofed"))
    outcome_ = method.train_round(2, [0, 1])  # round 2 is not a refresh round, and nothing was uploaded
    assert outcome_.train_loss is None
    assert outcome_.notes == ["the replay buffer is empty: nothing to train on"]


def test_views_bound_the_uploads() -> None:
    result = run(tiny_config("ecofed", rounds=5, devices=2, ecofed__views=1, ecofed__period=1))
    assert [record.uplink_bytes > 0 for record in result.rounds] == [True, False, False, False, False]
    twice = run(tiny_config("ecofed", rounds=5, devices=2, ecofed__views=2, ecofed__period=1))
    assert [record.uplink_bytes > 0 for record in twice.rounds] == [True, True, False, False, False]


@pytest.mark.parametrize(("codec", "bits"), [("uniform", 4), ("minmax", 8), ("float32", 8)])
def test_an_all_zero_activation_works(codec: str, bits: int) -> None:
    method, _ = started(tiny_config("ecofed", codec__name=codec, codec__bits=bits))
    assert isinstance(method, EcoFed)
    zeros = np.zeros((3, *method.bundle.activation_shape), np.float32)
    encoded = method.codec.encode(zeros, 8)
    rows, scale_N = method.codec.open(encoded.rows.tobytes(), 3, encoded.scales, 8)
    np.testing.assert_array_equal(method.codec.decode(rows, scale_N if len(scale_N) else None), zeros)


def test_a_non_finite_activation_is_one_clear_line() -> None:
    """A front whose numbers overflow is reported by the device; no such activation is ever encoded."""
    method, prepared = started(tiny_config("ecofed"))
    assert isinstance(method, EcoFed)
    broken = {name: np.full_like(array, 3e38) for name, array in method.bundle.weights.items()}
    bundle = replace(method.bundle, weights=broken)
    worker = prepared.worker(0)
    worker.handle(encode(InstallFront(bundle=bundle.encode())).data)
    reply, _ = decode(worker.handle(encode(Refresh(round=1, view=0, front_id=bundle.id, want_labels=True)).data))
    assert isinstance(reply, Failure)
    assert "non-finite" in reply.reason
    assert "check the front and the images" in reply.reason


@pytest.mark.parametrize("method", METHODS[:4])
def test_diverged_training_says_what_to_do(method: str) -> None:
    with pytest.raises(EcoFedError, match=r"diverged.*lower learning_rate"):
        run(tiny_config(method, learning_rate=1e12, initialisation="random", rounds=4))


@pytest.mark.ci
@pytest.mark.parametrize("method", METHODS)
def test_resume_equals_an_uninterrupted_run(method: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(experiment, "CHECKPOINT_SECONDS", -1.0)
    config = tiny_config(method, rounds=5, devices=3)
    whole = run(config, out=tmp_path / "whole", report=False)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", observer=StopAfter(3), report=False)
    resumed = run(config, out=tmp_path / "cut", resume=True, report=False)
    assert outcome(resumed) == outcome(whole)
    assert_same_weights(tmp_path / "cut", tmp_path / "whole", method)
    again = run(config, out=tmp_path / "cut", resume=True, report=False)
    assert outcome(again) == outcome(whole)
    with pytest.raises(
        CheckpointError, match=r"other settings \(differs in (seed, learning_rate|learning_rate, seed)\)"
    ):
        run(config.replace(seed=5, learning_rate=0.5), out=tmp_path / "cut", resume=True, report=False)


def test_initialisation_front_gives_every_method_the_same_front() -> None:
    fronts = []
    for name in METHODS:
        method, _ = started(tiny_config(name))
        fronts.append(state_arrays(method.halves.front))
    for front in fronts[1:]:
        assert front.keys() == fronts[0].keys()
        for key in front:
            np.testing.assert_array_equal(front[key], fronts[0][key])


def test_arrays_that_do_not_fit_are_named() -> None:
    method, _ = started(tiny_config("classic-fl"))
    arrays = state_arrays(method.model)
    name = next(iter(arrays))
    with pytest.raises(EcoFedError, match="shape"):
        load_arrays(method.model, arrays | {name: np.zeros(3, np.float32)})
    with pytest.raises(EcoFedError, match="lack"):
        load_arrays(method.model, {key: array for key, array in arrays.items() if key != name})
    with pytest.raises(EcoFedError, match="does not"):
        load_arrays(method.model, arrays | {"stranger": np.zeros(3, np.float32)})
