"""Mixed precision is a property of a network while it trains; outside of it little changes."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ecofed.models import Precision, native_precision, precision, set_precision
from ecofed.models.bottleneck import Expansion


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))


def trained(model: nn.Module, steps: int) -> nn.Module:
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x_NCHW, y_N = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(16) % 5
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(x_NCHW), y_N).backward()
        optimiser.step()
    return model


def test_training_is_close_to_float32_and_not_equal_to_it() -> None:
    plain = trained(network(), 5).state_dict()
    mixed = trained(set_precision(network(), "bfloat16"), 5).state_dict()
    assert all(plain[name].dtype == mixed[name].dtype for name in plain)
    differences = [float((plain[name] - mixed[name]).norm() / plain[name].norm()) for name in ("0.weight", "4.weight")]
    assert 0 < max(differences) < 0.02


def test_evaluation_is_float32_to_the_bit() -> None:
    x_NCHW = torch.randn(4, 3, 8, 8)
    plain, mixed = network().eval(), set_precision(network(), "bfloat16").eval()
    assert torch.equal(plain(x_NCHW), mixed(x_NCHW))


def test_a_copy_trains_in_the_same_precision_with_its_own_weights() -> None:
    mixed = set_precision(network(), "bfloat16")
    again = copy.deepcopy(mixed)
    assert torch.equal(trained(mixed, 3)[4].weight, trained(again, 3)[4].weight)  # type: ignore[index]


def test_what_goes_in_and_comes_out_is_float32_with_a_gradient() -> None:
    x_NCHW = torch.randn(2, 3, 8, 8, requires_grad=True)
    output = set_precision(network(), "bfloat16").train()(x_NCHW)
    output.backward(torch.ones_like(output))
    assert output.dtype == torch.float32
    assert x_NCHW.grad is not None
    assert x_NCHW.grad.dtype == torch.float32


def test_a_forward_pass_that_fails_leaves_no_precision_behind() -> None:
    mixed = set_precision(network(), "bfloat16").train()
    with pytest.raises(RuntimeError, match="4 channels"):
        mixed(torch.randn(2, 4, 8, 8))
    assert not torch.is_autocast_enabled("cpu")
    assert mixed(torch.randn(2, 3, 8, 8)).shape == (2, 5)


@pytest.mark.parametrize("native", ["float32", "bfloat16"])
def test_auto_is_what_the_processor_multiplies_itself(native: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "native_precision", lambda _: native)
    wanted = trained(set_precision(network(), native), 3).state_dict()
    found = trained(set_precision(network(), "auto"), 3).state_dict()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


@pytest.mark.parametrize(
    ("capabilities", "found"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({"avx2": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_processors_that_multiply_bfloat16_are_known(
    capabilities: dict[str, bool], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert native_precision("cpu") == found
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in PyTorch 2.4
    assert native_precision("cpu") == "float32"


def test_small_steps_about_a_large_mean_reach_the_back() -> None:
    """As codec ``dct`` has them: 1/255 apart, about 0.5. In bfloat16 each would be wrong by half a step."""
    layer = Expansion(2, 3, linear=True)
    codes = torch.tensor([128, 129]) / 255
    q_NKHW = codes[:, None, None, None].expand(2, 2, 1, 1)
    mixed = set_precision(nn.Sequential(layer), "bfloat16").train()(q_NKHW)
    assert torch.equal(mixed, layer(q_NKHW))
    assert float((codes.bfloat16() - codes).abs().min()) > 0.4 / 255
