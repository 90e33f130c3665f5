"""Normalisation modes: what depends on what, conversion, calibration."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ecofed.config.problem import ModelConfig
from ecofed.models import (
    BatchNorm2d,
    FrozenBatchNorm2d,
    RunningBatchNorm2d,
    build_model,
    calibrate,
    default_cut,
    initialise,
    model_names,
    partition,
    set_normalisation,
)


def front_of(name: str, mode: str = "frozen") -> nn.Module:
    model = build_model(
        ModelConfig(name=name, width=0.125, head_width=16), in_channels=3, classes=10, normalisation=mode
    )
    initialise(model, 0)
    front = partition(model, default_cut(name)).front
    calibrate(front, torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    return front


frozen_front = cache(front_of)


@pytest.mark.parametrize("name", model_names())
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), mates=st.integers(0, 7), place=st.integers(0, 7))
def test_a_frozen_front_sees_each_image_alone(name: str, seed: int, mates: int, place: int) -> None:
    front = frozen_front(name)
    batch = 3 * torch.randn(mates + 1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    own = min(place, mates)
    with torch.no_grad():
        alone, among_others = front(batch[own : own + 1])[0], front(batch)[own]
    torch.testing.assert_close(alone, among_others, rtol=1e-4, atol=1e-5)


def test_batch_statistics_do_depend_on_the_batch() -> None:
    front = front_of("vgg11", "batch")
    batch = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(front(batch[:1])[0], front(batch)[0], atol=1e-3)


def test_frozen_statistics_never_move() -> None:
    norm = FrozenBatchNorm2d(3).train()
    for _ in range(3):
        norm(torch.randn(8, 3, 4, 4) + 5)
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert torch.equal(norm.running_var, torch.ones(3))
    assert set(norm.state_dict()) == {"weight", "bias", "running_mean", "running_var"}


def test_running_statistics_equal_pytorchs_and_carry_no_counter() -> None:
    ours, theirs = RunningBatchNorm2d(3).train(), nn.BatchNorm2d(3).train()
    for step in range(3):
        batch = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(step)) * 2 + 1
        assert torch.equal(ours(batch), theirs(batch))
    assert torch.equal(ours.running_mean, theirs.running_mean)  # type: ignore[arg-type]
    assert torch.equal(ours.running_var, theirs.running_var)  # type: ignore[arg-type]
    assert "num_batches_tracked" not in ours.state_dict()
    ours.load_state_dict(dict(ours.state_dict()))


def test_one_value_per_channel_does_not_crash_training() -> None:
    norm = RunningBatchNorm2d(4).train()
    output = norm(torch.full((1, 4, 1, 1), 2.0))
    torch.testing.assert_close(output, torch.full((1, 4, 1, 1), 2.0))
    assert torch.equal(norm.running_mean, torch.zeros(4))


@pytest.mark.parametrize("training", [True, False])
def test_one_value_per_channel_has_no_deviation_from_its_own_mean(training: bool) -> None:
    (norm,) = set_normalisation(nn.Sequential(nn.BatchNorm2d(4)), "batch").train(training)
    nn.init.normal_(norm.bias)
    values = torch.full((1, 4, 1, 1), 2.0, requires_grad=True)
    output = norm(values)
    assert torch.equal(output.flatten(), norm.bias)
    output.sum().backward()  # type: ignore[no-untyped-call]
    # As of two equal values, whose statistics PyTorch takes: their deviation is rounding.
    torch.testing.assert_close(output[0], norm(values.detach().repeat(2, 1, 1, 1))[1], rtol=0, atol=1e-3)
    assert values.grad is not None
    assert torch.equal(values.grad, torch.zeros_like(values))
    assert torch.equal(norm.weight.grad, torch.zeros(4))
    assert torch.equal(norm.bias.grad, torch.ones(4))


def test_batches_of_more_than_a_value_are_pytorchs() -> None:
    ours, theirs = BatchNorm2d(3), nn.BatchNorm2d(3, track_running_stats=False)
    for shape in ((2, 3, 1, 1), (1, 3, 2, 1), (0, 3, 2, 2)):
        batch = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
        assert torch.equal(ours(batch), theirs(batch))
    assert list(ours.state_dict()) == list(theirs.state_dict()) == ["weight", "bias"]


def test_conversion_keeps_weight_bias_and_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    torch.nn.init.uniform_(model.get_parameter("1.weight"))
    model(torch.randn(4, 3, 8, 8))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for mode in ("running", "frozen"):
        set_normalisation(model, mode)
        after = model.state_dict()
        assert all(torch.equal(after[name], before[name]) for name in after)
        assert set(before) - set(after) == {"1.num_batches_tracked"}
    set_normalisation(model, "group")
    assert isinstance(model[1], nn.GroupNorm)
    assert torch.equal(model.get_parameter("1.weight"), before["1.weight"])
    set_normalisation(model, "running")
    assert torch.equal(model.state_dict()["1.running_var"], torch.ones(8))


def test_conversion_keeps_mode_sharing_and_layers_without_parameters() -> None:
    shared = nn.BatchNorm2d(4)
    model = nn.ModuleDict({"a": shared, "b": shared, "c": nn.BatchNorm2d(4, affine=False)}).eval()
    set_normalisation(model, "frozen")
    assert model["a"] is model["b"]
    assert not model["a"].training
    assert isinstance(model["c"], nn.BatchNorm2d)
    assert isinstance(set_normalisation(nn.BatchNorm2d(2), "frozen"), FrozenBatchNorm2d)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (3, 1), (4, 1), (8, 2), (12, 3), (64, 16), (512, 32), (7, 1)])
def test_groups_divide_the_channels(channels: int, groups: int) -> None:
    norm = set_normalisation(nn.BatchNorm2d(channels), "group")
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == groups


@pytest.mark.ci
@pytest.mark.parametrize("batch_size", [7, 100])
def test_calibration_is_exact_and_consistent_from_layer_to_layer(batch_size: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), FrozenBatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3), FrozenBatchNorm2d(5))
    initialise(model, 0)
    images = torch.randn(50, 3, 12, 12, generator=torch.Generator().manual_seed(0)) * 3 + 1
    model.train()
    calibrate(model, images, batch_size=batch_size)
    assert model.training
    with torch.no_grad():
        output = model(images)
        batch_normed = set_normalisation(model, "batch")(images)
    torch.testing.assert_close(output.mean(dim=(0, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(output.var(dim=(0, 2, 3), correction=0), torch.ones(5), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(output, batch_normed, rtol=1e-3, atol=1e-4)


def test_the_variance_of_two_numbers_is_divided_by_two() -> None:
    layer = FrozenBatchNorm2d(1)
    calibrate(layer, torch.tensor([0.0, 2.0]).reshape(1, 1, 1, 2))
    assert (float(layer.running_mean), float(layer.running_var)) == (1.0, 1.0)


@pytest.mark.ci
def test_groups_can_be_normalised_where_nothing_before_them_is_trained() -> None:
    """As after a frozen front. Without care the process ends here, without a word."""
    script = """
import torch
from torch import nn
from ecofed.models import set_normalisation

network = set_normalisation(nn.Sequential(nn.BatchNorm2d(8, track_running_stats=False)), "group")
network.to(memory_format=torch.channels_last)
torch.manual_seed(0)
x = torch.rand(20, 8, 8, 8).contiguous(memory_format=torch.channels_last)
network(x).square().sum().backward()
own = network[0].weight.grad
trained = x.clone().requires_grad_()
network.zero_grad()
network(trained).square().sum().backward()
assert torch.allclose(own, network[0].weight.grad, rtol=1e-4), (own, network[0].weight.grad)
print("fine")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "fine\n"), ended.stderr
