"""Cutting networks: equality with the whole, and what is refused."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ecofed.config.problem import ModelConfig
from ecofed.errors import ModelError
from ecofed.models import (
    activation_shape,
    add_bottleneck,
    add_expansion,
    build_model,
    initialise,
    model_names,
    partition,
    possible_cuts,
    set_normalisation,
)
from slowly import quick


def small(name: str, mode: str = "frozen") -> nn.Module:
    model = build_model(
        ModelConfig(name=name, width=0.0625, head_width=12), in_channels=3, classes=5, normalisation=mode
    )
    initialise(model, 0)
    return model


def cuts(name: str) -> list[str]:
    """Where a network can be cut; of the many places in a backbone's sixteen blocks those in one without a shortcut."""
    every = possible_cuts(small(name))
    return [cut for cut in every if name != "efficientnet-lite0" or cut.startswith("block9") or cut == "block3"]


ALL_CUTS = [(name, cut) for name in model_names() for cut in cuts(name)]


@pytest.mark.parametrize("place", quick(ALL_CUTS, *ALL_CUTS[::2]), ids="-".join)
def test_front_then_back_is_the_whole(place: tuple[str, str]) -> None:
    name, cut = place
    model = small(name).eval()
    halves = partition(model, cut)
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert torch.equal(halves.back(halves.front(images)), model(images))
    front, back = halves.front.state_dict(), halves.back.state_dict()
    assert not front.keys() & back.keys()
    assert (front | back).keys() == model.state_dict().keys()
    assert all(value is model.get_parameter(key) for key, value in halves.front.named_parameters())


def test_cuts_of_a_residual_network_lie_between_its_blocks() -> None:
    cuts = possible_cuts(small("resnet9"))
    assert {"block1", "block2.relu", "block3", "block4", "block5", "head.flatten"} <= set(cuts)
    assert not [cut for cut in cuts if "branch" in cut or "shortcut" in cut]


def test_halves_are_plain_modules() -> None:
    model = small("resnet9", "batch").train()
    halves = partition(model, "block2")
    assert halves.front.training
    assert halves.back.eval().get_submodule("block5.branch.0").training is False
    clone = copy.deepcopy(halves.back)
    clone.get_parameter("head.classifier.bias").data.fill_(3)
    assert float(model.get_parameter("head.classifier.bias").detach().abs().max()) < 3
    halves.back(halves.front(torch.randn(2, 3, 32, 32))).sum().backward()
    assert all(value.grad is not None for value in model.parameters())


def test_a_cut_on_the_meta_device_needs_no_memory() -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig(width=8), in_channels=3, classes=10, normalisation="batch")
        halves = partition(model, "block2")
    assert all(value.is_meta for value in halves.back.parameters())
    halves.front.to_empty(device="cpu")
    assert halves.front.get_parameter("block1.conv.weight").device.type == "cpu"


def test_an_unknown_layer_is_refused_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"no layer 'blok2' \(did you mean 'block2'\?\)"):
        partition(small("vgg11"), "blok2")


def test_a_skip_connection_is_refused_with_the_layers_that_would_work() -> None:
    with pytest.raises(ModelError, match=r"cannot cut after 'block3.branch.0': 2 values cross it") as refused:
        partition(small("resnet9"), "block3.branch.0")
    assert "block2, block3, block4, block5" in str(refused.value)
    assert "\n" not in str(refused.value)


class Network(nn.Module):
    """Two layers and whatever forward pass a test gives it."""

    def __init__(self, run: Callable[[Network, Tensor], object]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.scale = nn.Parameter(torch.ones(1))
        self.run = run

    def forward(self, x: Tensor) -> object:
        return self.run(self, x)


def branches_on_values(net: Network, x: Tensor) -> Tensor:
    return net.first(x) if x.sum() > 0 else net.second(x)


def reads_training(net: Network, x: Tensor) -> Tensor:
    return net.second(nn.functional.dropout(net.first(x), training=net.training)) * net.scale


def repeats(net: Network, x: Tensor) -> Tensor:
    return net.second(net.first(net.first(x))) * net.scale


def skips_from_the_input(net: Network, x: Tensor) -> Tensor:
    return net.second(net.first(x)) * net.scale + x


def scales_twice(net: Network, x: Tensor) -> Tensor:
    return net.second(net.first(x) * net.scale) * net.scale


def forgets_a_layer(net: Network, x: Tensor) -> Tensor:
    return net.first(x).relu() * net.scale


@pytest.mark.parametrize(
    ("run", "layer", "message"),
    [
        (branches_on_values, "first", "cannot be traced"),
        (reads_training, "first", "reads self.training"),
        (repeats, "first", "called 2 times"),
        (skips_from_the_input, "first", "2 values cross it"),
        (forgets_a_layer, "first", "never uses second"),
        (forgets_a_layer, "second", "not called on its own"),
    ],
)
def test_what_cannot_be_cut_is_refused_in_one_line(
    run: Callable[[Network, Tensor], object], layer: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        partition(Network(run), layer)
    assert "\n" not in str(refused.value)


def test_a_layer_in_two_places_is_called_that() -> None:
    twice = nn.Conv2d(3, 3, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), twice, nn.ReLU(), twice)
    with pytest.raises(ModelError, match="'3' is the layer '1' again; give each place a layer of its own"):
        partition(model, "0")


def test_a_parameter_outside_layers_belongs_to_the_side_that_uses_it() -> None:
    halves = partition(Network(lambda net, x: net.second(net.first(x)) * net.scale), "first")
    assert set(halves.back.state_dict()) == {"second.weight", "second.bias", "scale"}
    with pytest.raises(ModelError, match="tied weight"):
        partition(Network(lambda net, x: net.second(net.first(x * net.scale)) * net.scale), "first")


def test_a_forward_pass_may_compute_with_buffers_and_constants() -> None:
    model = Network(
        lambda net, x: net.second(net.first((x - net.mean.view(1, 3, 1, 1)) * torch.tensor(0.5))) * net.scale
    )
    model.register_buffer("mean", torch.rand(3))
    before = set(vars(model))
    halves = partition(model, "first")
    assert "mean" in halves.front.state_dict()
    assert set(vars(model)) == before
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(partition(model, "first").back(halves.front(x)), model(x))


def returns_a_dict(net: Network, x: Tensor) -> dict[str, Tensor]:
    return {"logits": net.second(net.first(x)) * net.scale}


def test_a_network_must_return_one_tensor() -> None:
    with pytest.raises(ModelError, match="returns a dict"):
        partition(Network(returns_a_dict), "first")


def test_an_activation_without_height_and_width_is_refused() -> None:
    front = partition(small("vgg11"), "head.flatten").front
    with pytest.raises(ModelError, match="not channels x height x width; cut earlier"):
        activation_shape(front, 3)


@pytest.mark.parametrize(
    "activate",
    [
        nn.LeakyReLU(inplace=True),
        lambda h: nn.functional.leaky_relu(h, inplace=True),
        lambda h: h.relu_(),
    ],
)
def test_the_back_leaves_the_activation_it_is_given_alone(activate: Callable[[Tensor], Tensor]) -> None:
    model = Network(lambda net, x: net.second(net.activate(net.first(x))) * net.scale)
    model.activate = activate
    halves = partition(model, "first")
    h = torch.randn(2, 3, 8, 8)
    kept = h.clone()
    halves.back(h)
    assert torch.equal(h, kept)
    halves.back(h.requires_grad_()).sum().backward()  # an in-place change of a leaf would be an error
    assert h.grad is not None


def test_a_tied_weight_is_refused() -> None:
    model = Network(lambda net, x: net.second(net.first(x)) * net.scale)
    model.second.weight = model.first.weight
    with pytest.raises(ModelError, match=r"cannot cut after 'first'.*tied weight"):
        partition(model, "first")


def test_any_users_network_can_be_cut() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    halves = partition(model, "1", example=torch.randn(2, 3, 2, 2))
    assert set(halves.front.state_dict()) == {"1.weight", "1.bias"}
    halves.back.train()
    assert halves.back.get_submodule("2").training


def test_bottleneck_and_expansion_fit_each_other() -> None:
    halves = partition(small("vgg11"), "block2")
    add_bottleneck(halves.front, channels=8, narrow=3)
    add_expansion(halves.back, narrow=3, channels=8)
    initialise(halves.front, 0)
    initialise(halves.back, 0)
    codes = halves.front(torch.randn(2, 3, 32, 32)).detach()
    assert codes.shape == (2, 3, 8, 8)
    assert float(codes.min()) == 0
    assert halves.back(codes).shape == (2, 5)
    assert {"bottleneck.conv.weight", "bottleneck.norm.running_mean"} <= set(halves.front.state_dict())
    assert {"expansion.conv.bias", "expansion.norm.running_var"} <= set(halves.back.state_dict())
    set_normalisation(halves.front, "group")
    assert halves.front(torch.randn(2, 3, 32, 32)).shape == (2, 3, 8, 8)
    copy.deepcopy(halves.back).train()


def test_a_copy_of_a_half_goes_with_its_last_reference() -> None:
    """A server makes one a device and round: left to the collector of garbage, they pile up."""
    halves = partition(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), "0", checked=False)
    x_NI = torch.rand(3, 4)
    gc.disable()
    try:
        copied = copy.deepcopy(halves.back)
        assert torch.equal(copy.deepcopy(copied)(x_NI), halves.back(x_NI))
        left = weakref.ref(copied)
        del copied
        assert left() is None
    finally:
        gc.enable()


def test_a_cut_that_there_is_not_names_those_that_there_are_in_short() -> None:
    with pytest.raises(ModelError) as caught:
        partition(build_model(ModelConfig(width=0.25), in_channels=3, classes=10, normalisation="batch"), "layer3")
    assert str(caught.value).endswith(
        "it has block1, block2, block3, block4, block5, block6, block7, block8, head, "
        "and layers inside these such as block1.conv (model.cut)"
    )
