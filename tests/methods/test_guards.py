"""Numbers that a small slip in the training loop would change without anybody noticing: each by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import run, started, tiny_config
from torch import nn

from ecofed.activations import View, configured_codec
from ecofed.config.codecs import CodecConfig
from ecofed.config.methods import EcoFedConfig, cosine
from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.costs.ledger import Ledger
from ecofed.errors import DeviceError, WireError
from ecofed.methods import METHOD_CLASSES, Channel, Context, Evaluator, train
from ecofed.methods.pooled import PooledTrainer
from ecofed.methods.transport import Answer, Lost
from ecofed.models import state_arrays
from ecofed.runs.preparation import prepare
from ecofed.wire import TrainedWhole, TrainWhole, decode, encode

POOL = View(
    rows=np.arange(24, dtype=np.uint8).reshape(8, 3),
    scale_N=np.empty(0, np.float32),
    sample_N=np.arange(8),
    labels_N=np.array([0, 1, 0, 1, 1, 0, 1, 0]),
)


def trainer(
    heard: list[tuple[np.ndarray, bool]] | None = None, *, momentum: float = 0.0, batch_size: int = 8, **settings: Any
) -> tuple[PooledTrainer, nn.Linear]:
    """A linear back on three numbers, batches of eight, five rounds, a learning rate of 0.1 and no momentum.

    ``heard`` gets the rows of each batch, and whether they may be augmented.
    """
    torch.manual_seed(0)
    back = nn.Linear(3, 2)
    config = Config().replace(batch_size=batch_size, rounds=5, learning_rate=0.1, momentum=momentum)

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = back

        def forward(self, x_B3HW: torch.Tensor) -> torch.Tensor:
            output: torch.Tensor = self.linear(x_B3HW.flatten(1))
            return output

    def inputs(view: View, rows_B: np.ndarray, random: np.random.Generator | None) -> np.ndarray:
        if heard is not None:
            heard.append((rows_B, random is not None))
        return view.rows[rows_B].astype(np.float32).reshape(-1, 3, 1, 1) / 24

    settings = {"schedule": "constant", "weight_decay": 0.0, **settings}
    task = Task(config=config, in_channels=3, classes=2, mean=(0.5,) * 3, std=(0.5,) * 3, flip=False)
    return PooledTrainer(Flat(), inputs, task, EcoFedConfig(**settings), torch_device=torch.device("cpu")), back


def test_final_accuracy_is_the_mean_of_the_last_five_evaluations() -> None:
    result = run(tiny_config("classic-fl", rounds=7, normalisation="batch", initialisation="random"))
    accuracies = [record.test_accuracy for record in result.rounds]
    assert result.totals.final_test_accuracy == pytest.approx(sum(accuracies[2:]) / 5)  # type: ignore[arg-type]


def test_every_nth_round_is_tested_and_each_of_the_last_five() -> None:
    result = run(tiny_config("closed-form", rounds=12, evaluate_every=3))
    tested = [record.round for record in result.rounds if record.test_accuracy is not None]
    assert tested == [3, 6, 8, 9, 10, 11, 12]
    assert [record.round for record in result.rounds if record.test_loss is not None] == tested
    assert result.totals.best_test_accuracy == max(result.rounds[round_ - 1].test_accuracy for round_ in tested)  # type: ignore[type-var]


@pytest.mark.parametrize("steps", [1, 7])
def test_the_server_makes_as_many_steps_as_configured(steps: int) -> None:
    method, _ = started(tiny_config("ecofed", ecofed__server_steps=steps))
    outcomes = [method.train_round(round_, [0, 1]) for round_ in (1, 2)]
    assert [outcome.server_steps for outcome in outcomes] == [steps, steps]
    assert method.state()[1]["trainer"]["steps"] == 2 * steps


def test_the_cosine_falls_from_the_whole_rate_to_nothing() -> None:
    assert [cosine(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.5, 0.0])
    assert cosine(0.25) == pytest.approx((1 + math.sqrt(0.5)) / 2)


@pytest.mark.parametrize(("schedule", "share"), [("constant", 1.0), ("cosine", cosine(0.8))])
def test_a_step_of_the_last_round_has_its_share_of_the_rate(schedule: str, share: float) -> None:
    """Round 5 of 5, the first step: four fifths of the training are over."""
    made, back = trainer(schedule=schedule)
    before, images = back.weight.detach().clone(), torch.arange(24.0).reshape(8, 3) / 24
    loss = F.cross_entropy(back(images), torch.from_numpy(POOL.labels_N))
    (gradient,) = torch.autograd.grad(loss, back.weight)
    made.train(5, POOL, np.zeros(8, np.int64), 1)
    torch.testing.assert_close(back.weight.detach(), before - 0.1 * share * gradient)


def test_the_rate_falls_from_step_to_step() -> None:
    """The last of four steps of round 2 of 5: 1.75 rounds of training are over."""
    made, _ = trainer(schedule="cosine")
    made.train(2, POOL, np.zeros(8, np.int64), 4)
    assert made._optimiser.param_groups[0]["lr"] == pytest.approx(0.1 * cosine(1.75 / 5))


def test_mixed_images_have_the_labels_of_both_partners() -> None:
    """A share of 0.3 and a partner known beforehand; no second pass that could be right by chance."""
    made, back = trainer(mixup=1.0)
    images, labels = torch.arange(24.0).reshape(8, 3) / 24, torch.from_numpy(POOL.labels_N)
    partner = np.array([1, 2, 3, 4, 5, 6, 7, 0])

    class Known:
        def beta(self, _a: float, _b: float) -> float:
            return 0.3

        def permutation(self, count: int) -> np.ndarray:
            assert count == 8
            return partner

    mixed = back(0.3 * images + 0.7 * images[partner])
    expected = 0.3 * F.cross_entropy(mixed, labels) + 0.7 * F.cross_entropy(mixed, labels[partner])
    loss = made._step(images.reshape(8, 3, 1, 1), labels, Known())  # type: ignore[arg-type]
    assert loss == pytest.approx(float(expected.detach()), rel=1e-6)


def test_the_weight_average_moves_every_tenth_step() -> None:
    made, back = trainer(ema=0.9)
    start = back.weight.detach().clone()
    averages = []
    for round_ in range(1, 5):
        made.train(round_, POOL, np.zeros(8, np.int64), 5)
        averages.append((made.evaluated.linear.weight.detach().clone(), back.weight.detach().clone()))  # type: ignore[union-attr]
    (at_5, back_5), (at_10, back_10), (at_15, _), (at_20, back_20) = averages
    torch.testing.assert_close(at_5, back_5)  # nothing is in the average yet
    decay = min(0.9**10, 10 / 110)
    torch.testing.assert_close(at_10, decay * start + (1 - decay) * back_10)
    torch.testing.assert_close(at_15, at_10)
    decay = min(0.9**10, 20 / 120)
    torch.testing.assert_close(at_20, decay * at_10 + (1 - decay) * back_20)


IMAGES = torch.arange(24.0).reshape(8, 3) / 24
LABELS = torch.from_numpy(POOL.labels_N)


def test_weight_decay_pulls_every_weight_to_zero() -> None:
    made, back = trainer(weight_decay=0.3)
    before = back.weight.detach().clone()
    (gradient,) = torch.autograd.grad(F.cross_entropy(back(IMAGES), LABELS), back.weight)
    made.train(1, POOL, np.zeros(8, np.int64), 1)
    torch.testing.assert_close(back.weight.detach(), before - 0.1 * (gradient + 0.3 * before))


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_smoothed_labels_are_shared_by_all_classes(mixup: float) -> None:
    """0.2 of the target is spread over both classes; mixed with itself, a batch is what it was."""
    made, back = trainer(label_smoothing=0.2, mixup=mixup)
    log_probabilities = F.log_softmax(back(IMAGES), dim=1).detach().numpy()
    own = log_probabilities[np.arange(8), POOL.labels_N]
    expected = -(0.8 * own + 0.2 * log_probabilities.mean(axis=1)).mean()

    class Known:
        def beta(self, a: float, b: float) -> float:
            assert (a, b) == (1.0, 1.0)
            return 0.25

        def permutation(self, count: int) -> np.ndarray:
            return np.arange(count)

    assert made._step(IMAGES.reshape(8, 3, 1, 1), LABELS, Known()) == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(("fresh", "velocity"), [(False, 0.9), (True, 0.0)])
def test_momentum_is_kept_from_round_to_round_unless_it_starts_afresh(fresh: bool, velocity: float) -> None:
    made, back = trainer(momentum=0.9, fresh_momentum=fresh)
    steps, gradients = [], []
    for round_ in (1, 2):
        before = back.weight.detach().clone()
        gradients.append(torch.autograd.grad(F.cross_entropy(back(IMAGES), LABELS), back.weight)[0])
        made.train(round_, POOL, np.zeros(8, np.int64), 1)
        steps.append(before - back.weight.detach())
    torch.testing.assert_close(steps[1], 0.1 * gradients[1] + velocity * steps[0])


@pytest.mark.parametrize(("sampling", "of_the_first"), [("uniform", 6), ("class", 4), ("device", 4)])
def test_what_comes_equally_often_in_a_batch(sampling: str, of_the_first: int) -> None:
    """Six of eight rows are of class 0 and, other ones, of device 0; so are six of eight that are drawn, or four."""
    labels_N, device_N = np.array([0, 0, 0, 0, 0, 0, 1, 1]), np.array([1, 0, 0, 0, 0, 0, 0, 1])
    heard: list[tuple[np.ndarray, bool]] = []
    made, _ = trainer(heard, sampling=sampling)
    pool = View(rows=POOL.rows, scale_N=POOL.scale_N, sample_N=POOL.sample_N, labels_N=labels_N)
    made.train(1, pool, device_N, 2)
    group_N = device_N if sampling == "device" else labels_N
    assert [len(rows) - int(group_N[rows].sum()) for rows, _ in heard] == [of_the_first] * 2
    if sampling == "uniform":
        assert [sorted(rows.tolist()) for rows, _ in heard] == [list(range(8))] * 2


def test_what_is_measured_is_not_augmented_and_what_is_trained_on_is() -> None:
    heard: list[tuple[np.ndarray, bool]] = []
    made, back = trainer(heard)
    loss = made.loss_on(POOL)
    assert loss == pytest.approx(float(F.cross_entropy(back(IMAGES), LABELS).detach()))
    made.train(1, POOL, np.zeros(8, np.int64), 1)
    assert [augmented for _, augmented in heard] == [False, True]


def test_the_training_loss_of_a_round_is_the_mean_of_its_steps() -> None:
    made, _ = trainer(batch_size=2)
    losses: list[float] = []
    own = made._step
    made._step = lambda *batch: losses.append(own(*batch)) or losses[-1]  # type: ignore[func-returns-value,method-assign]
    assert made.train(1, POOL, np.zeros(8, np.int64), 3) == pytest.approx(sum(losses) / 3)
    assert len(set(losses)) == 3


@pytest.mark.parametrize("aggregation", ["samples", "equal"])
def test_devices_of_unequal_size_count_as_configured(aggregation: str) -> None:
    """What the server makes of two devices is the average of what they answer, by samples or equal."""
    settings = {"normalisation": "batch", "initialisation": "random", "data__partition": "quantity"}
    config = tiny_config("classic-fl", aggregation=aggregation, data__alpha=0.5, **settings)
    method, prepared = started(config)
    request = encode(TrainWhole(round=1, weights=state_arrays(method.model))).data
    replies = [decode(prepared.worker(device).handle(request))[0] for device in range(4)]
    trained = [reply for reply in replies if isinstance(reply, TrainedWhole) and reply.samples]
    sizes = [reply.samples for reply in trained]
    assert len(set(sizes)) > 1  # otherwise both are the same
    weights = np.array(sizes if aggregation == "samples" else [1] * len(sizes), float)
    method.train_round(1, [0, 1, 2, 3])
    for name, array in state_arrays(method.model).items():
        if name in trained[0].weights:
            expected = np.average([reply.weights[name] for reply in trained], axis=0, weights=weights)
            np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-6)


def test_a_label_that_no_class_has_is_refused() -> None:
    method, prepared = started(tiny_config("lgl", normalisation="batch", initialisation="random"))
    classes = prepared.task.classes
    assert method.labels(np.array([0, classes - 1], np.uint8)).tolist() == [0, classes - 1]
    with pytest.raises(DeviceError, match=f"label {classes} of {classes} classes"):
        method.labels(np.array([0, classes], np.uint8))


class Nobody:
    """A transport that reaches no device."""

    exchanges_at_once = False

    def exchange_all(self, requests: Any, deadline: float | None) -> Any:  # noqa: ARG002
        for device, _ in requests:
            yield device, Answer(replies=[], sent=0, lost=Lost(reason="is not there", again=False))

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:  # noqa: ARG002
        return Answer(replies=[], sent=0, lost=Lost(reason="is not there", again=False))

    def drop(self, device: int) -> None:
        pass

    def close(self) -> None:
        pass


def test_after_three_rounds_without_anybody_a_run_ends() -> None:
    prepared = prepare(tiny_config("classic-fl", rounds=9, normalisation="batch", initialisation="random"), print)
    context = Context(
        task=prepared.task,
        channel=Channel(Nobody(), Ledger()),  # type: ignore[arg-type]
        model=prepared.model,
        halves=prepared.halves,
        torch_device=prepared.torch_device,
    )
    method = METHOD_CLASSES["classic-fl"](context)
    rounds = train(method, Evaluator(method, *prepared.test_set()))
    assert [next(rounds).round, next(rounds).round] == [1, 2]
    with pytest.raises(DeviceError, match="no device answered in rounds 1 to 3 "):
        next(rounds)


def test_the_papers_scales_are_capped() -> None:
    """Codes of up to 128 times the scale: 65,504 is the most that an activation may be."""
    codec = configured_codec(CodecConfig(name="minmax", bits=8), (1, 1, 1), None)
    codec.open(b"\x01", 1, np.array([511.0], np.float32), 1)
    with pytest.raises(WireError, match="a scale of 512"):
        codec.open(b"\x01", 1, np.array([512.0], np.float32), 1)
