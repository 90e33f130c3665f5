"""The built-in networks: sizes, shapes, names, keyed weights."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ecofed.config.problem import ModelConfig
from ecofed.errors import ConfigError
from ecofed.models import activation_shape, build_model, default_cut, initialise, model_names, partition
from ecofed.models.registry import check_back_width, image_size
from ecofed.models.sliced_conv import SlicedConv2d, strided_pointwise

SMALL = {"width": 0.0625, "head_width": 16}


def build(name: str, mode: str = "batch", in_channels: int = 3, **changes: object) -> torch.nn.Module:
    config = ModelConfig(name=name, **changes)  # type: ignore[arg-type]
    return build_model(config, in_channels=in_channels, classes=10, normalisation=mode)


def parameters(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(
    ("name", "total", "front", "shape"),
    [
        ("vgg11", 34_440_970, 76_032, (128, 8, 8)),
        ("resnet9", 9_395_722, 76_032, (128, 8, 8)),
        ("alexnet", 23_274_570, 113_088, (192, 4, 4)),
        ("lenet", 2_156_682, 53_888, (64, 8, 8)),
        ("efficientnet-lite0", 3_383_818, 87_584, (80, 2, 2)),
    ],
)
def test_parameters_and_activation_of_the_full_networks(
    name: str, total: int, front: int, shape: tuple[int, int, int]
) -> None:
    with torch.device("meta"):
        model = build(name)
        halves = partition(model, default_cut(name))
    assert parameters(model) == total
    assert parameters(halves.front) == front
    assert activation_shape(halves.front, 3) == shape
    assert not list(model.buffers())


def test_resnet9_moves_the_papers_megabytes() -> None:
    with torch.device("meta"):
        both_ways = 8 * parameters(build("resnet9"))
    assert both_ways == pytest.approx(75.166e6, rel=1e-3)


@pytest.mark.parametrize("mode", ["batch", "frozen", "running", "group"])
@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("name", model_names())
def test_every_network_runs_forward_and_backward(name: str, in_channels: int, mode: str) -> None:
    model = build(name, mode, in_channels, **SMALL)
    initialise(model, 0)
    logits = model(torch.randn(3, in_channels, 32, 32))
    assert logits.shape == (3, 10)
    logits.sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


def test_width_and_head_width_scale_the_layers() -> None:
    state = build("vgg11", width=0.5, head_width=512).state_dict()
    assert state["block1.conv.weight"].shape == (32, 3, 3, 3)
    assert state["head.hidden1.weight"].shape == (512, 256 * 2 * 2)
    assert build("vgg11", width=0.001).state_dict()["block8.conv.weight"].shape == (1, 1, 3, 3)


@pytest.mark.parametrize(
    ("name", "cut", "narrow", "wide"),
    [
        ("vgg11", None, "block3.conv.bias", "block2.conv.bias"),
        ("vgg11", "block5.conv", "block6.norm.bias", "block5.norm.bias"),
        ("resnet9", None, "block4.shortcut.bias", "block2.conv.bias"),
        ("alexnet", "block4", "block5.conv.bias", "block4.conv.bias"),
        ("alexnet", "pool", "head.hidden1.bias", "block5.conv.bias"),
        ("lenet", None, "head.hidden1.bias", "block2.conv.bias"),
    ],
)
def test_the_back_alone_is_narrowed(name: str, cut: str | None, narrow: str, wide: str) -> None:
    with torch.device("meta"):
        whole, quarter = (build(name, cut=cut, back_width=width) for width in (None, 0.25))
        front = partition(whole, cut or default_cut(name)).front.state_dict()
        own = partition(quarter, cut or default_cut(name)).front.state_dict()
    assert {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in front.items()}
    assert quarter.get_parameter(narrow).numel() == whole.get_parameter(narrow).numel() // 4
    assert quarter.get_parameter(wide).numel() == whole.get_parameter(wide).numel()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"name": "resnet9", "cut": "block4"}, "nothing after the cut 'block4' of resnet9 has a width of its own"),
        ({"name": "vgg11", "cut": "block8", "head_width": 8}, "nothing after the cut 'block8' of vgg11"),
        ({"name": "efficientnet-lite0"}, "efficientnet-lite0 cannot be narrowed after the cut; vgg11, resnet9, "),
        ({"name": "timm:resnet18"}, "timm:resnet18 cannot be narrowed"),
        ({"name": "two-blocks"}, "two-blocks cannot be narrowed"),
    ],
)
def test_a_network_whose_back_has_no_width_is_refused(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"model.back_width = 0.5: {reason}")):
        check_back_width(ModelConfig(**config, back_width=0.5))
    check_back_width(ModelConfig(**config))


def test_state_has_the_same_names_in_all_modes_but_for_the_statistics() -> None:
    names = {
        mode: set(build("resnet9", mode, **SMALL).state_dict()) for mode in ("batch", "frozen", "running", "group")
    }
    assert names["batch"] == names["group"]
    assert names["frozen"] == names["running"]
    extra = names["frozen"] - names["batch"]
    assert extra
    assert all(name.endswith(("norm.running_mean", "norm.running_var")) for name in extra)


def test_building_draws_nothing() -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    model = build("lenet", **SMALL)
    assert torch.equal(before, torch.random.get_rng_state())
    assert float(model.get_parameter("head.classifier.weight").detach().abs().max()) == 0
    assert torch.equal(model.get_parameter("block1.norm.weight"), torch.ones(2))


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'vgg11'"):
        build("vgg1")
    with pytest.raises(ConfigError, match=r"normalisation = 'frosen'.*did you mean 'frozen'"):
        build("lenet", "frosen")
    with pytest.raises(ConfigError, match="resnet9"):
        default_cut("resnet")


def test_initialisation_depends_on_seed_and_parameter_name_only() -> None:
    first, again, wider_head, other_seed = (build("vgg11", width=0.125, head_width=units) for units in (16, 16, 40, 16))
    torch.manual_seed(1)
    initialise(first, 5)
    torch.manual_seed(2)
    initialise(again, 5)
    initialise(wider_head, 5)
    initialise(other_seed, 6)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert torch.equal(first.get_parameter("block3.conv.weight"), wider_head.get_parameter("block3.conv.weight"))
    assert not torch.equal(first.get_parameter("block3.conv.weight"), other_seed.get_parameter("block3.conv.weight"))
    # Golden: a keyed draw is the same on every machine.
    assert first.get_parameter("block1.conv.bias")[0].item() == pytest.approx(GOLDEN_BIAS, abs=1e-7)


GOLDEN_BIAS = -0.16222040355205536


def test_initial_weights_are_pytorchs_uniform_distribution() -> None:
    model = build("vgg11", width=0.5, head_width=64)
    initialise(model, 0)
    weight = model.get_parameter("block4.conv.weight").detach()
    bound = (128 * 9) ** -0.5
    assert float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.01)
    assert float(weight.mean()) == pytest.approx(0, abs=bound / 100)


def test_layers_that_draw_for_themselves_are_keyed_too_and_leave_the_global_generator_alone() -> None:
    def drawn(seed: int) -> torch.Tensor:
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ConvTranspose2d(3, 3, 2))
        initialise(model, seed)
        return model.get_parameter("1.weight").detach()

    before = torch.random.get_rng_state()
    torch.nn.ConvTranspose2d(3, 3, 2)
    torch.random.set_rng_state(before)
    first = drawn(0)
    torch.manual_seed(99)
    assert torch.equal(first, drawn(0))
    assert not torch.equal(first, drawn(1))
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    model = torch.nn.Sequential(torch.nn.LayerNorm(4), torch.nn.Linear(2, 2))
    torch.random.set_rng_state(state)
    initialise(model, 0)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(("channels", "kind"), [(4, SlicedConv2d), (8, nn.Conv2d)])
def test_strided_1x1_convolutions_of_few_channels_are_what_others_are(channels: int, kind: type[nn.Conv2d]) -> None:
    layer = strided_pointwise(channels, 6, 2).double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert type(layer) is kind
    x_NCHW = torch.randn(3, channels, 7, 6, dtype=torch.float64, requires_grad=True)
    expected = F.conv2d(x_NCHW, layer.weight, layer.bias, stride=2)
    assert torch.allclose(layer(x_NCHW), expected)
    asked = (x_NCHW, layer.weight, layer.bias)
    gradients = torch.autograd.grad(layer(x_NCHW).pow(2).sum(), asked)
    for gradient, other in zip(gradients, torch.autograd.grad(expected.pow(2).sum(), asked), strict=True):
        assert torch.allclose(gradient, other)


def test_a_name_of_another_family_is_timms() -> None:
    for name, meant in (("resnet18", "timm:resnet18"), ("vgg16", "timm:vgg16"), ("vgg1", "vgg11")):
        with pytest.raises(ConfigError, match=rf"\(did you mean '{meant}'\?\)"):
            image_size(ModelConfig(name=name))
