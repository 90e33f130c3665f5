"""A backbone with a small new head on the cut's activation."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ecofed.config.problem import ModelConfig
from ecofed.models import build_model, calibrate, initialise, partition, possible_cuts
from ecofed.planning.counting import CountedNetwork


def short(cut: str, back: str = "small") -> nn.Module:
    config = ModelConfig(name="efficientnet-lite0", width=0.125, cut=cut, back=back)  # type: ignore[arg-type]
    model = build_model(config, in_channels=3, classes=7, normalisation="frozen")
    initialise(model, 0)
    return model


X_NCHW = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_it_is_the_front_and_a_head() -> None:
    model = short("block6")
    calibrate(model, X_NCHW)
    halves = partition(model, "block6")
    whole_front = partition(short("block6", "rest"), "block6").front
    assert halves.front.state_dict().keys() == whole_front.state_dict().keys()
    assert all(name.startswith("small_head.") for name in halves.back.state_dict())
    with torch.no_grad():
        logits = model.eval()(X_NCHW)
        activation = halves.front.eval()(X_NCHW)
        assert torch.equal(halves.back.eval()(activation), logits)
        whole_front.load_state_dict(halves.front.state_dict())
        assert torch.equal(whole_front.eval()(X_NCHW), activation)
    assert logits.shape == (3, 7)


def test_it_can_be_cut_where_the_network_could_and_counted() -> None:
    model = short("block4")
    assert {"stem", "block1", "block3", "block4", "small_head.conv"} <= set(possible_cuts(model))
    counted = CountedNetwork(model, 3)
    front, back, shape = counted.halves("block3")
    whole_front, _, whole_shape = CountedNetwork(short("block4", "rest"), 3).halves("block3")
    assert (front.flops, shape) == (whole_front.flops, whole_shape)
    assert front.parameter_bytes + back.parameter_bytes == 4 * sum(value.numel() for value in model.parameters())


def test_copies_can_be_cut_too_and_train() -> None:
    model = short("block2.expand")
    again = copy.deepcopy(model).train()
    again(X_NCHW).sum().backward()
    assert all(value.grad is not None for value in again.parameters())
    assert possible_cuts(again) == possible_cuts(model)


def test_networks_that_are_no_backbones_keep_their_own_back() -> None:
    config = ModelConfig(name="lenet", width=0.125, head_width=4, back="small")
    names = build_model(config, in_channels=1, classes=3, normalisation="group").state_dict()
    assert "head.classifier.weight" in names
