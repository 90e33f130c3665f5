"""Training on the buffer: each choice does what it says, and a resumed run goes on as if it had never stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import StopAfter, assert_same_weights, outcome, run, started, tiny_config

from ecofed.activations.augmentation import FeatureAugmentation, shifted
from ecofed.config.accountant import kept_share
from ecofed.config.methods import EcoFedConfig
from ecofed.errors import ConfigError
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.pooled import PooledTrainer, balanced_rows, drawn_rows, has_running_statistics
from ecofed.models import state_arrays

BATCH_NORM: dict[str, Any] = {"model__name": "vgg11", "model__width": 0.0625, "model__head_width": 8}
EVERYTHING: dict[str, Any] = {
    "ecofed__sampling": "class",
    "ecofed__flip": 0.5,
    "ecofed__shift": 0.5,
    "ecofed__cutout": 0.5,
    "ecofed__mixup": 0.4,
    "ecofed__schedule": "cosine",
    "ecofed__ema": 0.9,
    "ecofed__label_smoothing": 0.1,
    "ecofed__weight_decay": 0.001,
    "ecofed__views": 2,
    "codec__entropy": "range",
}


@pytest.mark.parametrize(
    "changes",
    [
        EVERYTHING,
        {"ecofed__refresh": "plateau", "ecofed__memorised": 1.0, "ecofed__sampling": "device"},
        {"ecofed__optimiser": "adamw", "ecofed__warm_up": 0.4, "ecofed__statistics": "frozen", "learning_rate": 0.001},
    ],
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    config = tiny_config("ecofed", rounds=4, **changes)
    whole = run(config, out=tmp_path / "whole", report=False)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "parts", observer=StopAfter(2), report=False)
    parts = run(config, out=tmp_path / "parts", resume=True, report=False)
    assert outcome(parts) == outcome(whole)
    assert_same_weights(tmp_path / "parts", tmp_path / "whole", config.method)


def test_frozen_statistics_stay_while_scales_and_shifts_are_trained() -> None:
    for statistics, stay in (("frozen", True), ("running", False)):
        method, _ = started(tiny_config("ecofed", ecofed__statistics=statistics, **BATCH_NORM))
        before = state_arrays(method.back)  # type: ignore[attr-defined]
        method.train_round(1, [0, 1])
        after = state_arrays(method.back)  # type: ignore[attr-defined]
        moved = {name for name in before if not np.array_equal(before[name], after[name])}
        means = {name for name in before if name.endswith("running_mean")}
        assert means
        assert (means.isdisjoint(moved), means <= moved) == (stay, not stay)
        assert {name.replace("running_mean", "weight") for name in means} <= moved


def test_an_average_that_nothing_has_entered_is_not_what_is_tested() -> None:
    """Weights enter every ten steps: of fewer, the average would be the network that the run began with."""
    method, _ = started(tiny_config("ecofed", ecofed__ema=0.9, ecofed__server_steps=4))
    assert isinstance(method, EcoFed)
    for round_ in (1, 2):
        method.train_round(round_, [0, 1])
        assert method.trainer.evaluated is method.back
    method.train_round(3, [0, 1])
    assert method.trainer.evaluated is not method.back


def test_what_arrives_is_judged_by_the_loss_that_is_trained() -> None:
    """Plain cross-entropy of randomised labels is the larger the better the network is: plateau would ask for ever."""
    method, _ = started(tiny_config("ecofed", privacy__label_epsilon=1.0))
    assert isinstance(method, EcoFed)
    method.train_round(1, [0])
    view = method.buffer.latest(0)
    found = method.trainer.loss_on(view)
    h_BCHW, y_B = method.trainer.batch(view, np.arange(len(view)), None)
    kept = kept_share(1.0, 10)
    with torch.no_grad():
        answers_BK = torch.softmax(method.back.eval()(h_BCHW), dim=1)
    said_B = (answers_BK * kept + (1 - answers_BK) * (1 - kept) / 9)[torch.arange(len(y_B)), y_B]
    assert found == pytest.approx(float(-said_B.log().mean()), rel=1e-5)


def test_published_weights_keep_their_statistics_unless_told_otherwise() -> None:
    method, _ = started(tiny_config("ecofed"))
    for published, statistics, running in (
        (False, "auto", True),
        (True, "auto", False),
        (True, "running", True),
        (False, "frozen", False),
    ):
        context = dataclasses.replace(method.context, published=published)
        settings = dataclasses.replace(method.config.ecofed, statistics=statistics)
        assert has_running_statistics(context, settings) is running


def test_the_learning_rate_rises_then_falls() -> None:
    changes: dict[str, Any] = {
        "ecofed__warm_up": 0.5,
        "ecofed__schedule": "cosine",
        "ecofed__optimiser": "adamw",
    }
    method, _ = started(tiny_config("ecofed", **changes, rounds=1, learning_rate=0.01, ecofed__server_steps=4))
    trainer = method.trainer  # type: ignore[attr-defined]
    rates = []
    for step in range(4):
        trainer._set_learning_rate(step / 4, (step + 1) / 4)
        rates.append(trainer._optimiser.param_groups[1]["lr"])
    shares = [0.5 * 1.0, 1.0 * 0.5 * (1 + np.cos(np.pi / 4)), 0.5, 0.5 * (1 + np.cos(3 * np.pi / 4))]
    np.testing.assert_allclose(rates, [0.01 * share for share in shares])
    decays = [group["weight_decay"] for group in trainer._optimiser.param_groups]
    assert decays == [method.config.ecofed.weight_decay, 0.0]
    assert all(one.ndim <= 1 for one in trainer._optimiser.param_groups[1]["params"])


@pytest.mark.ci
def test_entropy_coding_changes_the_bytes_and_nothing_else() -> None:
    results = {entropy: run(tiny_config("ecofed", codec__entropy=entropy)) for entropy in ("none", "deflate", "range")}
    accuracies = {result.totals.final_test_accuracy for result in results.values()}
    uplink = {entropy: result.ledger["activations"]["uplink"] for entropy, result in results.items()}
    assert len(accuracies) == 1
    assert uplink["range"] < uplink["deflate"] < uplink["none"]


def test_a_front_that_saturates_is_noted_once_and_counted_in_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    def mostly_saturated(self: EcoFed, device: int, replies: Any) -> Any:
        return dataclasses.replace(opened(self, device, replies), saturated_fraction=0.3)

    opened = EcoFed._opened
    monkeypatch.setattr(EcoFed, "_opened", mostly_saturated)
    result = run(tiny_config("ecofed", ecofed__period=1))
    assert [record.saturated_fraction for record in result.rounds] == [0.3] * 3
    assert [len(record.notes) for record in result.rounds] == [1, 0, 0]
    assert result.rounds[0].notes[0].startswith("30% of a device's activation entries exceed the quantiser's limit")


@pytest.mark.parametrize(
    ("bits", "fraction", "warned"),
    [(1, 0.3, False), (2, 0.24, False), (2, 0.34, True), (3, 0.24, True), (8, 0.2, False)],
)
def test_few_bits_clip_more_by_design(
    bits: int, fraction: float, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def saturated(self: EcoFed, device: int, replies: Any) -> Any:
        return dataclasses.replace(opened(self, device, replies), saturated_fraction=fraction)

    opened = EcoFed._opened
    monkeypatch.setattr(EcoFed, "_opened", saturated)
    result = run(tiny_config("ecofed", rounds=1, codec__bits=bits))
    assert bool(result.rounds[0].notes) == warned


def test_the_average_is_what_is_tested_and_saved() -> None:
    method, prepared = started(tiny_config("ecofed", ecofed__ema=0.9, ecofed__server_steps=30))
    assert isinstance(method, EcoFed)
    method.train_round(1, [0, 1])
    inputs, labels_N = prepared.test_set()
    images = inputs(slice(0, len(labels_N)))
    inputs = method.test_input(images)
    assert not np.array_equal(method.logits(inputs).detach(), method.back.eval()(inputs).detach())
    saved, averaged = method.network(), method.trainer.evaluated.state_dict()
    assert {name for name in saved if name not in state_arrays(method.front)} == averaged.keys()
    for name, value in averaged.items():
        assert np.array_equal(saved[name], value.numpy())


def augmenting(flip_allowed: bool = True, **settings: float) -> tuple[EcoFed, np.ndarray, np.ndarray]:
    """A method that has one upload, the upload's activations, and what training makes of them."""
    changes = {f"ecofed__{key}": value for key, value in settings.items()}
    method, _ = started(tiny_config("ecofed", ecofed__server_steps=1, codec__name="float32", **changes))
    context = dataclasses.replace(method.context, task=dataclasses.replace(method.context.task, flip=flip_allowed))
    method = EcoFed(context)
    method.train_round(1, [0, 1])
    view, rows = method.buffer.latest(0), np.arange(20)
    return method, method._inputs(view, rows, None), method._inputs(view, rows, np.random.default_rng(0))


def test_activations_are_mirrored_where_a_mirrored_image_is_valid() -> None:
    _, plain, trained_on = augmenting(flip=1.0)
    assert not np.array_equal(plain, plain[..., ::-1])
    np.testing.assert_array_equal(trained_on, plain[..., ::-1])
    _, plain, trained_on = augmenting(flip=1.0, flip_allowed=False)  # digits
    np.testing.assert_array_equal(trained_on, plain)


def test_activations_are_moved_by_one_entry() -> None:
    _, plain, trained_on = augmenting(shift=1.0)
    directions = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
    moved = np.stack([shifted(plain, *direction) for direction in directions])
    assert ((moved == trained_on).all(axis=(2, 3, 4)).sum(axis=0) >= 1).tolist() == [True] * 20


def test_a_square_of_activations_is_cut_out() -> None:
    _, plain, trained_on = augmenting(cutout=1.0)
    changed = (trained_on != plain).any(axis=1)
    assert changed.any(axis=(1, 2)).all()
    assert trained_on[np.broadcast_to(changed[:, None], plain.shape)].max() == 0
    for sample in changed:
        rows, columns = np.nonzero(sample)
        assert max(np.ptp(rows), np.ptp(columns)) < plain.shape[2] // 3


def test_each_augmentation_has_its_own_probability() -> None:
    method, plain, trained_on = augmenting()
    np.testing.assert_array_equal(trained_on, plain)
    method, _, _ = augmenting(flip=0.1, shift=0.2, cutout=0.3)
    assert method._augment == FeatureAugmentation(flip=0.1, shift=0.2, cutout=0.3)


@pytest.mark.ci
def test_a_budget_of_bytes_ends_the_uploads() -> None:
    free = run(tiny_config("ecofed", rounds=6, ecofed__period=1))
    views = run(tiny_config("ecofed", rounds=6, ecofed__period=1, ecofed__views=1))
    per_device = views.ledger["activations"]["uplink"] // 4 + 20
    bounded = run(tiny_config("ecofed", rounds=6, ecofed__period=1, ecofed__uplink_budget_bytes=2 * per_device))
    sent = [result.ledger["activations"]["uplink"] for result in (views, bounded, free)]
    assert sent[0] < sent[1] <= 8 * per_device < sent[2] * 2


def test_bounded_views_all_stay_in_the_buffer_and_are_trained_on() -> None:
    method, _ = started(tiny_config("ecofed", ecofed__period=1, ecofed__views=3))
    assert isinstance(method, EcoFed)
    for round_ in (1, 2, 3, 4):
        method.train_round(round_, [0, 2])
    assert {device: list(method.buffer.views_of(device)) for device in (0, 2)} == {0: [0, 1, 2], 2: [0, 1, 2]}


def test_of_very_many_rows_as_many_different_ones_are_drawn_without_permuting_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = drawn_rows(3, 1, 5000, None, 400)
    np.testing.assert_array_equal(few, balanced_rows(3, 1, np.zeros(5000, np.int64), 400))
    monkeypatch.setattr("ecofed.methods.pooled.MANY_ROWS", 4999)
    many = drawn_rows(3, 1, 5000, None, 400)
    assert len(set(many.tolist())) == 400
    assert 0 <= many.min() < 500 < 4500 < many.max() < 5000
    np.testing.assert_array_equal(many, drawn_rows(3, 1, 5000, None, 400))
    assert not np.array_equal(many, drawn_rows(3, 2, 5000, None, 400))
    assert len(drawn_rows(3, 1, 5000, None, 6000)) == 6000  # more than there are: in turn, as ever


def test_balanced_rows_bring_every_group_equally_often_and_every_row_of_a_group() -> None:
    groups_N = np.array([0] * 2 + [1] * 7 + [5] * 3)
    rows = balanced_rows(3, 1, groups_N, 42)
    assert np.bincount(groups_N[rows], minlength=6).tolist() == [14, 14, 0, 0, 0, 14]
    counts = np.bincount(rows, minlength=12)
    assert counts[:2].tolist() == [7, 7]
    assert set(counts[2:9]) == {2}
    for turn in range(0, 42, 3):
        assert sorted(groups_N[rows[turn : turn + 3]]) == [0, 1, 5]
    assert np.array_equal(rows, balanced_rows(3, 1, groups_N, 42))
    assert not np.array_equal(rows, balanced_rows(3, 2, groups_N, 42))


def test_without_groups_no_row_comes_twice_before_all_have_come() -> None:
    rows = balanced_rows(0, 1, np.zeros(10, np.int64), 25)
    assert sorted(rows[:10]) == sorted(rows[10:20]) == list(range(10))


@pytest.mark.parametrize(("kind", "longer"), [("int8", "full"), ("compact", "int8")])
def test_a_shorter_front_costs_less_to_deliver_and_is_the_one_that_is_tested(kind: str, longer: str) -> None:
    results = {name: run(tiny_config("ecofed", front__precision=name)) for name in (kind, longer)}
    assert results[kind].ledger["front"]["downlink"] < results[longer].ledger["front"]["downlink"]
    front = results[kind].front
    assert front is not None
    assert front["delivered_bytes"] * 4 == results[kind].ledger["front"]["downlink"]
    method, _ = started(tiny_config("ecofed", front__precision=kind))
    assert isinstance(method, EcoFed)
    assert len(method.bundle.weights) >= 4
    for name, array in method.bundle.weights.items():
        assert np.array_equal(method.network()[name], array)


def test_a_round_with_few_new_devices_trains_as_long_as_any_other() -> None:
    method, _ = started(tiny_config("ecofed", ecofed__refresh="once"))
    batches = -(-20 // 8)
    assert method.train_round(1, [0, 1]).server_steps == 2 * batches
    assert method.train_round(2, [1, 2]).server_steps == 2 * batches  # only 2 uploads
    assert method.train_round(3, [0, 2]).server_steps == 2 * batches  # nobody does


@pytest.mark.parametrize("method", ["ecofed", "send-images"])
def test_the_servers_batches_have_a_size_of_their_own(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many samples as before, in batches that are filled across devices; so in the plan, too."""
    sizes: list[int] = []

    def seen(trainer: PooledTrainer, view: Any, rows_B: np.ndarray, random: Any) -> Any:
        sizes.append(len(rows_B))
        return batch(trainer, view, rows_B, random)

    batch = PooledTrainer.batch
    monkeypatch.setattr(PooledTrainer, "batch", seen)
    key = f"{method.replace('-', '_')}__server_batch_size"
    config = tiny_config(method, **{key: 30, "rounds": 1, "ecofed__refresh": "once"})
    program, prepared = started(config)
    assert program.train_round(1, [0, 1]).server_steps == 2
    assert sizes == [30, 30]
    agenda = type(program).agenda(config, [len(part) for part in prepared.parts])
    for device in (0, 1):
        agenda.took(device, 0)
    assert agenda.server_steps(1, [0, 1], [0, 1]) == 2
    with pytest.raises(ConfigError, match=rf"^{method}\.server_batch_size = 0: must be in 1\.\.65536"):
        tiny_config(method, **{key: 0})


def test_batches_and_learning_rate_of_auto_suit_each_other() -> None:
    auto = EcoFedConfig(server_batch_size="auto")
    assert auto.steps([500] * 10, 20) == 25
    assert (auto.batch(20), auto.batch(500)) == (200, 500)
    assert auto.rate(0.01, 20) == pytest.approx(0.01 * 10**0.5)
    assert auto.rate(0.01, 500) == EcoFedConfig(server_batch_size=200).rate(0.01, 20) == 0.01
    program, _ = started(tiny_config("ecofed", ecofed__server_batch_size="auto", learning_rate=0.02, rounds=1))
    assert isinstance(program, EcoFed)
    assert program.train_round(1, [0, 1]).server_steps == 1
    (group,) = program.trainer._optimiser.param_groups
    assert group["lr"] == pytest.approx(0.02 * 5)
    with pytest.raises(ConfigError, match=r"^ecofed\.server_batch_size = 'many': must be a whole number"):
        tiny_config("ecofed", ecofed__server_batch_size="many")


def test_batches_of_fedavg_stay_as_they_were_uploaded() -> None:
    config = EcoFedConfig(server="fedavg", server_batch_size=1, server_steps=1)
    assert config.steps([20, 20], 8) == 6
    assert EcoFedConfig(server_batch_size=16).steps([20, 21], 8) == 3
    assert EcoFedConfig(server_batch_size=16).steps([], 8) == 0
