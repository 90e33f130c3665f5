"""Losses, averages and records of every method, by hand: a dropped factor or a swapped argument shows."""

from __future__ import annotations

import dataclasses
import itertools
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import run, started, tiny_config

from ecofed.activations import View
from ecofed.data import augment, to_input
from ecofed.devices.local_data import LocalData
from ecofed.devices.training import Mean
from ecofed.errors import DeviceError
from ecofed.methods import SendImagesMethod, sample_devices, train
from ecofed.methods.base import RoundOutcome, train_on
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.fedgkt import FedGKT
from ecofed.methods.lgl import LGL
from ecofed.methods.pooled import PooledTrainer
from ecofed.methods.replay import replayed_devices
from ecofed.models import WeightedAverage, state_arrays
from ecofed.models.distillation import distillation_loss
from ecofed.wire import Distilled, LocallyTrained, ServerLogits, TrainDistilled, TrainLocally, decode, encode

PLAIN: dict[str, Any] = {"normalisation": "batch", "initialisation": "random"}
UNEQUAL: dict[str, Any] = {"data__partition": "quantity", "data__alpha": 0.5}


def test_the_server_trains_on_the_batches_of_the_device_epoch_by_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def noted(model: Any, optimiser: Any, h_BCHW: torch.Tensor, y_B: torch.Tensor) -> float:
        sizes.append(len(y_B))
        return train_on(model, optimiser, h_BCHW, y_B)

    monkeypatch.setattr("ecofed.methods.base.train_on", noted)
    method, _ = started(tiny_config("lgl", local_epochs=2))
    method.train_round(1, [0])
    assert sizes == [8, 8, 4, 8, 8, 4]  # of 20 samples


def test_a_device_that_is_not_reached_with_its_answer_took_part_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise DeviceError("no room")

    monkeypatch.setattr("ecofed.devices.methods.fedgkt.Distiller.keep_logits", refused)
    method, _ = started(tiny_config("fedgkt"))
    method.train_round(1, [0, 1])
    assert method.channel.took_part == {0, 1}


# --- averages ---


@pytest.mark.parametrize("aggregation", ["samples", "equal"])
@pytest.mark.parametrize(
    ("method_name", "averages"),
    [("classic-fl", 1), ("vanilla-dpfl", 2), ("lgl", 3), ("fedgkt", 3), ("ecofed", 1)],
)
def test_every_average_weighs_devices_as_configured(
    method_name: str, averages: int, aggregation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights: list[float] = []
    add = WeightedAverage.add

    def noted(self: WeightedAverage, arrays: Any, weight: float) -> None:
        weights.append(weight)
        add(self, arrays, weight)

    monkeypatch.setattr(WeightedAverage, "add", noted)
    method, prepared = started(
        tiny_config(method_name, aggregation=aggregation, ecofed__server="fedavg", **PLAIN, **UNEQUAL)
    )
    method.train_round(1, [0, 1, 2, 3])
    sizes = [len(part) for part in prepared.parts if len(part)]
    assert len(set(sizes)) > 1
    expected = sizes if aggregation == "samples" else [1] * len(sizes)
    assert sorted(weights) == sorted(float(weight) for weight in expected * averages)


def test_the_next_auxiliary_classifier_is_the_devices_average() -> None:
    method, prepared = started(tiny_config("lgl", **PLAIN, **UNEQUAL))
    assert isinstance(method, LGL)
    request = encode(
        TrainLocally(round=1, front=state_arrays(method.halves.front), auxiliary=state_arrays(method.auxiliary))
    ).data
    replies = [decode(prepared.worker(device).handle(request))[0] for device in range(4)]
    trained = [reply for reply in replies if isinstance(reply, LocallyTrained) and len(reply.labels_N)]
    method.train_round(1, [0, 1, 2, 3])
    weights = [len(reply.labels_N) for reply in trained]
    auxiliary = state_arrays(method.auxiliary)
    assert auxiliary.keys() == trained[0].auxiliary.keys()
    for name, array in auxiliary.items():
        expected = np.average([reply.auxiliary[name] for reply in trained], axis=0, weights=weights)
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-6)


# --- losses ---


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    powers = np.exp(logits_NK)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_is_the_divergence_from_the_teacher_times_the_squared_temperature(temperature: float) -> None:
    draw = np.random.default_rng(0)
    student, teacher = draw.normal(size=(2, 6, 4))
    soft_student, soft_teacher = softmax(student / temperature), softmax(teacher / temperature)
    expected = temperature**2 * (soft_teacher * np.log(soft_teacher / soft_student)).sum(axis=1).mean()
    loss = distillation_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    assert float(loss) == pytest.approx(expected)
    assert float(distillation_loss(torch.from_numpy(teacher), torch.from_numpy(teacher), temperature)) == pytest.approx(
        0
    )


@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 3.0), (0.5, 3.0), (0.5, 2.0)])
def test_the_server_of_fedgkt_learns_from_labels_and_from_the_device(alpha: float, temperature: float) -> None:
    method, _ = started(tiny_config("fedgkt", fedgkt__alpha=alpha, fedgkt__temperature=temperature, **PLAIN))
    assert isinstance(method, FedGKT)
    torch.manual_seed(0)
    own, others, labels = torch.randn(6, 10), torch.randn(6, 10), torch.arange(6)
    expected = F.cross_entropy(own, labels) + alpha * distillation_loss(own, others, temperature)
    assert float(method._loss(own, labels, others)) == pytest.approx(float(expected))


@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 3.0), (0.5, 3.0), (0.5, 2.0)])
def test_a_device_of_fedgkt_learns_from_labels_and_from_the_servers_last_logits(
    alpha: float, temperature: float
) -> None:
    """At next to no learning rate; sample by sample in their own order, in three batches, the last one smaller."""
    changes = {"fedgkt__alpha": alpha, "fedgkt__temperature": temperature, "learning_rate": 1e-12}
    config = tiny_config("fedgkt", data__augment=False, **changes, **PLAIN)
    method, prepared = started(config)
    assert isinstance(method, FedGKT)
    worker = prepared.worker(1)
    logits_NK = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)
    worker.handle(encode(ServerLogits(round=1, logits_NK=logits_NK)).data)
    request = TrainDistilled(round=2, front=state_arrays(method.halves.front), auxiliary=state_arrays(method.auxiliary))
    reply, _ = decode(worker.handle(encode(request).data))
    assert isinstance(reply, Distilled)
    own, teacher = torch.from_numpy(reply.logits_NK.copy()), torch.from_numpy(logits_NK)
    labels = torch.from_numpy(reply.labels_N.astype(np.int64))
    expected = F.cross_entropy(own, labels) + alpha * distillation_loss(own, teacher, temperature)
    assert reply.loss == pytest.approx(float(expected), rel=1e-4)


def test_what_the_server_of_fedgkt_learns_from_is_what_the_device_said(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[np.ndarray] = []
    method, prepared = started(tiny_config("fedgkt", **PLAIN))
    assert isinstance(method, FedGKT)
    request = TrainDistilled(round=1, front=state_arrays(method.halves.front), auxiliary=state_arrays(method.auxiliary))
    reply, _ = decode(prepared.worker(0).handle(encode(request).data))
    assert isinstance(reply, Distilled)
    loss = FedGKT._loss

    def noted(self: FedGKT, logits_BK: torch.Tensor, y_B: torch.Tensor, device_logits_BK: torch.Tensor) -> torch.Tensor:
        heard.append(device_logits_BK.numpy().copy())
        return loss(self, logits_BK, y_B, device_logits_BK)

    monkeypatch.setattr(FedGKT, "_loss", noted)
    method.train_round(1, [0])
    assert [len(batch) for batch in heard] == [8, 8, 4]
    np.testing.assert_array_equal(np.concatenate(heard), reply.logits_NK)


def test_a_devices_loss_is_a_mean_over_samples() -> None:
    losses = Mean()
    assert losses.value == 0
    losses.add(torch.tensor(1.0), 8)
    losses.add(torch.tensor(6.0), 2)
    assert losses.value == 2.0


def test_a_device_shuffles_its_samples_anew_each_round_and_each_epoch() -> None:
    _, prepared = started(tiny_config("classic-fl", local_epochs=2, **PLAIN))
    images, labels = prepared.dataset.train.images_NHWC[prepared.parts[0]], np.zeros(20, np.uint8)
    data = LocalData(prepared.task, 0, images, labels)
    orders = [np.concatenate([samples for samples, _ in data.batches(round_)]) for round_ in (1, 2)]
    epochs = [order.tolist() for both in orders for order in np.split(both, 2)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(20))] * 4
    assert all(one != other for one, other in itertools.combinations(epochs, 2))
    assert [len(samples) for samples, _ in data.batches(1)] == [8, 8, 4] * 2
    views = {view for round_ in (1, 2) for _, view in data.batches(round_)}
    assert len(views) == 4


# --- the buffer ---


def pooled_devices(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Whose samples each training of a round has."""
    heard: list[list[int]] = []
    own = PooledTrainer.train

    def noted(self: PooledTrainer, round_: int, pool: View, device_N: np.ndarray, steps: int) -> float:
        assert len(device_N) == len(pool)
        heard.append(np.unique(device_N).tolist())
        return own(self, round_, pool, device_N, steps)

    monkeypatch.setattr(PooledTrainer, "train", noted)
    return heard


@pytest.mark.parametrize(("replay", "second"), [(True, [0, 1, 2, 3]), (False, [2, 3])])
def test_training_is_on_all_that_was_ever_sent_or_on_this_rounds(
    replay: bool, second: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = pooled_devices(monkeypatch)
    method, _ = started(tiny_config("ecofed", ecofed__replay=replay, ecofed__period=1))
    for round_, devices in ((1, [0, 1]), (2, [2, 3])):
        method.train_round(round_, devices)
    assert heard == [[0, 1], second]


def test_send_images_trains_on_all_images_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = pooled_devices(monkeypatch)
    method, _ = started(tiny_config("send-images"))
    for round_, devices in ((1, [0, 1]), (2, [1, 3])):
        method.train_round(round_, devices)
    assert heard == [[0, 1], [0, 1, 3]]


def test_as_many_devices_are_replayed_as_were_sampled_others_in_every_round() -> None:
    config = tiny_config("ecofed", devices=12, sampled_devices=3)
    buffered = [0, 2, 3, 5, 7, 8, 11]
    drawn = [replayed_devices(config, round_, [1, 4, 6], [], buffered) for round_ in range(2, 12)]
    assert [len(devices) for devices in drawn] == [3] * 10
    assert all(devices == sorted(set(devices)) and set(devices) <= set(buffered) for devices in drawn)
    assert len({tuple(devices) for devices in drawn}) > 5
    assert replayed_devices(config, 2, [1, 4, 6], [], [5, 7]) == [5, 7]
    # Where anybody has uploaded, the round is about the sampled ones that the buffer knows.
    assert replayed_devices(config, 2, [2, 4, 6], [2], buffered) == [2]
    assert replayed_devices(config, 2, [2, 3, 6], [2], buffered) == [2, 3]


def test_the_saturated_share_of_a_round_is_the_mean_over_its_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = EcoFed._opened
    shares = {0: 0.1, 1: 0.4}
    monkeypatch.setattr(
        EcoFed,
        "_opened",
        lambda self, device, replies: dataclasses.replace(
            opened(self, device, replies), saturated_fraction=shares[device]
        ),
    )
    method, _ = started(tiny_config("ecofed"))
    assert method.train_round(1, [0, 1]).saturated_fraction == pytest.approx(0.25)


@pytest.mark.parametrize("codec", [{"codec__name": "minmax", "codec__bits": 8}, {"codec__entropy": "range"}])
def test_a_budget_is_of_codes_scales_and_labels_as_they_travelled(codec: dict[str, Any]) -> None:
    method, _ = started(tiny_config("ecofed", ecofed__period=1, **codec))
    assert isinstance(method, EcoFed)
    sent = method.channel.ledger.bytes
    for round_ in (1, 2):  # labels travel with the first
        method.train_round(round_, [0])
        assert method.history.of(0).views == round_
        assert method.history.of(0).bytes == sent["activations"]["uplink"] + sent["labels"]["uplink"]
    assert sent["labels"]["uplink"] == 20


def test_labels_stay_with_their_images() -> None:
    """Uploads have an order of their own, and so has each later view, whose labels do not travel again."""
    method, prepared = started(tiny_config("ecofed", ecofed__views=2, ecofed__period=1, data__shards_per_device=8))
    assert isinstance(method, EcoFed)
    own = prepared.dataset.train.labels_N[prepared.parts[0]]
    assert len(set(own.tolist())) > 3
    for round_ in (1, 2):
        method.train_round(round_, [0])
    views = method.buffer.views_of(0)
    assert len(views) == 2
    for view in views.values():
        np.testing.assert_array_equal(view.labels_N, own[view.sample_N])
    assert views[0].sample_N.tolist() != views[1].sample_N.tolist()


def test_images_that_were_sent_are_augmented_in_training_only() -> None:
    method, _ = started(tiny_config("send-images", send_images__server_steps=1))
    assert isinstance(method, SendImagesMethod)
    method.train_round(1, [0, 1])
    view, rows, task = method.buffer.latest(0), np.arange(20), method.context.task
    images = np.asarray(view.rows[rows]).reshape(20, *method._size, 1)
    np.testing.assert_array_equal(method._inputs(view, rows, None), to_input(images, task.mean, task.std))
    number = int(np.random.default_rng(0).integers(1 << 32))
    moved = augment(images, rows, seed=0, device=-1, view=number, flip=False)
    trained_on = method._inputs(view, rows, np.random.default_rng(0))
    np.testing.assert_array_equal(trained_on, to_input(moved, task.mean, task.std))
    assert not np.array_equal(moved, images)


# --- records ---


def test_the_time_of_devices_is_not_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that take 7 and 4 seconds, of which devices take 5 and 1."""
    method, _ = started(tiny_config("classic-fl", rounds=2, **PLAIN))
    spent = iter([5.0, 1.0])

    class Sleepy(SimpleNamespace):
        asks_devices = True

        def train_round(self, *_: object) -> RoundOutcome:
            method.channel.device_seconds += next(spent)
            return RoundOutcome(train_loss=1.0)

    ticks = iter([100.0, 107.0, 200.0, 204.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    records = list(train(Sleepy(config=method.config, channel=method.channel), lambda: (0.5, 1.0)))  # type: ignore[arg-type]
    monkeypatch.undo()
    assert [record.device_seconds for record in records] == [5.0, 1.0]
    assert [record.server_seconds for record in records] == [2.0, 3.0]


def test_sampled_devices_are_ascending_all_different_and_others_in_every_round() -> None:
    config = tiny_config("ecofed", devices=40, sampled_devices=10)
    drawn = [sample_devices(config, round_) for round_ in range(1, 61)]
    assert all(devices == sorted(set(devices)) and len(devices) == 10 for devices in drawn)
    assert len({tuple(devices) for devices in drawn}) == 60
    assert {device for devices in drawn for device in devices} == set(range(40))
    assert drawn[0] == sample_devices(config.replace(method="classic-fl"), 1)
    assert drawn[0] != sample_devices(config.replace(seed=1), 1)


def test_only_the_first_round_keeps_its_timeline() -> None:
    timelines = [record.timeline for record in run(tiny_config("closed-form")).rounds]
    assert timelines[0]
    assert timelines[1:] == [None, None]
