"""What each method must equal, exactly or to float tolerance, written a second time in plain PyTorch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import outcome, run, started, tiny_config, weights
from torch.optim import SGD

from ecofed.config.methods import METHODS
from ecofed.config.task import upload_order
from ecofed.devices.local_data import LocalData
from ecofed.methods.ecofed import EcoFed
from ecofed.methods.pooled import balanced_rows
from ecofed.models import build_model, load_arrays, state_arrays
from ecofed.runs.preparation import Prepared
from slowly import quick


def local_data(prepared: Prepared, device: int) -> LocalData:
    own, train = prepared.parts[device], prepared.dataset.train
    return LocalData(prepared.task, device, train.images_NHWC[own], train.labels_N[own])


@pytest.mark.parametrize("normalisation", ["batch", "frozen", "group"])
@pytest.mark.parametrize("method_name", ["vanilla-dpfl", "classic-fl"])
def test_one_device_is_end_to_end_sgd(method_name: str, normalisation: str) -> None:
    """With a single device, classic FL and SplitFed are SGD on the whole network over the same batches."""
    config = tiny_config(
        method_name, sampled_devices=1, devices=1, normalisation=normalisation, initialisation="random"
    )
    method, prepared = started(config)
    task = prepared.task
    model = build_model(
        config.model, in_channels=task.in_channels, classes=task.classes, normalisation=config.normalisation
    )
    load_arrays(model, state_arrays(method.model))
    data = local_data(prepared, 0)
    for round_ in (1, 2):
        method.train_round(round_, [0])
        optimiser = SGD(model.parameters(), lr=config.learning_rate, momentum=config.momentum)
        for samples_B, view in data.batches(round_):
            loss = F.cross_entropy(model(data.inputs(samples_B, view)), data.labels(samples_B))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    expected, actual = state_arrays(model), state_arrays(method.model)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_lossless_ecofed_is_training_the_back_on_the_frozen_fronts_features() -> None:
    config = tiny_config("ecofed", codec__name="float32", devices=3, sampled_devices=3)
    method, prepared = started(config)
    assert isinstance(method, EcoFed)
    back = copy.deepcopy(method.back)
    optimiser = SGD(back.parameters(), lr=config.learning_rate, momentum=config.momentum)
    for round_ in (1, 2):
        method.train_round(round_, [0, 1, 2])
        # The same samples, in upload order, straight from the front, without codec, wire or buffer.
        view = 0  # period 2: round 2 replays what round 1 uploaded
        features, labels = [], []
        for device in range(3):
            data = local_data(prepared, device)
            order_N = upload_order(config.seed, device, view, len(data))
            with torch.no_grad():
                features.append(method.front(data.inputs(order_N, view)))
            labels.append(data.labels(order_N))
        h_NCHW, y_N = torch.cat(features), torch.cat(labels)
        rows = balanced_rows(config.seed, round_, np.zeros(len(y_N), np.int64), 9 * config.batch_size)
        for step in range(9):  # 3 devices x ceil(20 / 8)
            batch = torch.from_numpy(rows[step * 8 : step * 8 + 8])
            loss = F.cross_entropy(back.train()(h_NCHW[batch]), y_N[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    expected, actual = state_arrays(back), state_arrays(method.back)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_papers_ecofed_is_batch_statistics_minmax_int8_and_an_average_of_backs() -> None:
    """The paper-faithful form against the paper's description: two devices, one refresh round."""
    config = tiny_config(
        "ecofed",
        model__name="vgg11",
        model__width=0.125,
        model__head_width=16,
        normalisation="batch",
        aggregation="equal",
        devices=2,
        codec__name="minmax",
        codec__bits=8,
        ecofed__server="fedavg",
    )
    method, prepared = started(config)
    assert isinstance(method, EcoFed)
    start = copy.deepcopy(method.back)
    method.train_round(1, [0, 1])
    backs = []
    for device in (0, 1):
        data = local_data(prepared, device)
        order_N = upload_order(config.seed, device, 0, len(data))
        back = copy.deepcopy(start).train()
        optimiser = SGD(back.parameters(), lr=config.learning_rate, momentum=config.momentum)
        for at in range(0, len(order_N), config.batch_size):
            samples_B = order_N[at : at + config.batch_size]
            with torch.no_grad():
                h_BCHW = method.front(data.inputs(samples_B, 0))  # normalised by this very batch
            scale = h_BCHW.max() / 127
            codes = torch.round(h_BCHW / scale).clamp(-128, 127)
            loss = F.cross_entropy(back(codes * scale), data.labels(samples_B))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        backs.append(state_arrays(back))
    for name, array in state_arrays(method.back).items():
        np.testing.assert_allclose(array, (backs[0][name] + backs[1][name]) / 2, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("method", quick(METHODS, "ecofed", "fedgkt", "vanilla-dpfl"))
def test_the_same_seed_gives_identical_results(method: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = tiny_config(method)
    first = run(config, out=tmp_path / "a", report=False)
    second = run(config, out=tmp_path / "b", report=False)
    other = run(config.replace(seed=1), report=False)
    assert outcome(first) == outcome(second)
    assert outcome(first) != outcome(other)
    one, two = weights(tmp_path / "a", method), weights(tmp_path / "b", method)
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_classic_fl_and_split_fed_agree_to_float_tolerance() -> None:
    """SplitFed v1 computes the same averages as FedAvg, in two places."""
    classic, vanilla = (run(tiny_config(method)) for method in ("classic-fl", "vanilla-dpfl"))
    for one, two in zip(classic.rounds, vanilla.rounds, strict=True):
        assert one.test_loss == pytest.approx(two.test_loss, rel=1e-3)
    assert vanilla.total_bytes != classic.total_bytes


def test_decoded_codes_do_not_depend_on_batch_mates() -> None:
    method, prepared = started(tiny_config("ecofed", model__name="vgg11", model__width=0.125, codec__bits=2))
    assert isinstance(method, EcoFed)
    data = local_data(prepared, 0)
    together = method.test_input(data.inputs(np.arange(20), 0)).numpy()
    alone = np.concatenate([method.test_input(data.inputs(np.array([sample]), 0)).numpy() for sample in range(20)])
    # A code may flip where float rounding meets a level's edge; nearly all are the same, bit for bit.
    assert (together == alone).mean() > 0.9999


def test_v2_of_split_fed_trains_one_shared_back() -> None:
    v1 = run(tiny_config("vanilla-dpfl"))
    v2 = run(tiny_config("vanilla-dpfl", vanilla_dpfl__version="v2"))
    assert v1.ledger["activations"] == v2.ledger["activations"]
    assert v1.rounds[-1].test_loss != v2.rounds[-1].test_loss
    single = {"sampled_devices": 1, "rounds": 1}
    assert run(tiny_config("vanilla-dpfl", **single)).rounds[0].test_loss == (
        run(tiny_config("vanilla-dpfl", vanilla_dpfl__version="v2", **single)).rounds[0].test_loss
    )


@pytest.mark.parametrize("method_name", quick(METHODS, "ecofed", "classic-fl", "fedgkt"))
def test_precision_changes_training_a_little_and_the_bytes_not_at_all(method_name: str) -> None:
    plain, mixed = (run(tiny_config(method_name, precision=precision)) for precision in ("float32", "bfloat16"))
    assert plain.ledger == mixed.ledger
    if method_name != "closed-form":  # which trains nothing
        losses = [record.train_loss for record in plain.rounds], [record.train_loss for record in mixed.rounds]
        assert losses[0] != losses[1]
        np.testing.assert_allclose(*losses, rtol=0.05)
