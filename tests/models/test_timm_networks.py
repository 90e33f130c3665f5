"""Networks of timm: taken apart, cut, counted, exported. The first tests run with a stand-in for the package."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ecofed.config.problem import ModelConfig
from ecofed.errors import ConfigError, MissingExtraError, ModelError
from ecofed.models import build_model, calibrate, default_cut, initialise, partition, possible_cuts
from ecofed.models.registry import model_names
from ecofed.models.stand_in import importable
from ecofed.models.timm_networks import published_timm_network, separated, timm_settings
from ecofed.models.to_onnx import add_network
from ecofed.onnx import Session
from ecofed.onnx.graph import Graph
from ecofed.planning.counting import CountedNetwork
from fake_timm import fake_timm

TINY = ModelConfig(name="timm:tinynet")


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", fake_timm())


def built(config: ModelConfig = TINY, normalisation: str = "frozen") -> nn.Module:
    return build_model(config, in_channels=3, classes=5, normalisation=normalisation)


def by_onnx(network: nn.Module, x_NCHW: torch.Tensor) -> np.ndarray:
    graph = Graph(tuple(x_NCHW.shape[1:]))
    name, example = add_network(graph, network.eval(), (graph.input, torch.zeros(2, *x_NCHW.shape[1:])))
    return Session(graph.encode(name, tuple(example.shape[1:])))(x_NCHW.numpy())


@pytest.mark.usefixtures("timm")
def test_fused_layers_come_apart_and_compute_the_same() -> None:
    whole = fake_timm().create_model("tinynet", pretrained=False, num_classes=5)
    initialise(whole, 1)
    x_NCHW = torch.randn(4, 3, 33, 33)
    whole.train()(x_NCHW)  # statistics that are not zero and one
    with torch.no_grad():
        expected = whole.eval()(x_NCHW)
        apart = separated(whole)
        assert torch.equal(apart(x_NCHW), expected)
    assert "bn1.norm.running_mean" in apart.state_dict()
    assert not [layer for layer in apart.modules() if getattr(layer, "inplace", False)]


@pytest.mark.usefixtures("timm")
def test_it_can_be_cut_counted_and_written_as_onnx() -> None:
    model = built()
    initialise(model, 0)
    x_NCHW = torch.randn(3, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    calibrate(model, x_NCHW)
    assert default_cut("timm:tinynet") == "blocks.0"
    assert {"conv_stem", "bn1.norm", "bn1", "blocks.0", "blocks.1", "global_pool"} <= set(possible_cuts(model))
    halves = partition(model, "blocks.0")
    with torch.no_grad():
        expected = model.eval()(x_NCHW)
        assert torch.equal(halves.back.eval()(halves.front.eval()(x_NCHW)), expected)
    activation = by_onnx(halves.front, x_NCHW)
    np.testing.assert_allclose(by_onnx(halves.back, torch.from_numpy(activation)), expected.numpy(), atol=1e-5)
    front, back, shape = CountedNetwork(model, 3, 40).halves("blocks.0")
    assert shape == (8, 20, 20)
    # Stem, depthwise and pointwise convolutions, and the two of squeeze and excitation.
    assert front.flops == 2 * ((27 * 8 + 9 * 8 + 8 * 8) * 400 + 2 * 4 * 8)
    assert front.parameter_bytes + back.parameter_bytes == 4 * sum(value.numel() for value in model.parameters())


@pytest.mark.usefixtures("timm")
def test_building_draws_from_nobodys_generator_and_works_without_memory() -> None:
    before = torch.random.get_rng_state()
    built()
    assert torch.equal(before, torch.random.get_rng_state())
    with torch.device("meta"):
        assert all(value.is_meta for value in built().state_dict().values())


@pytest.mark.usefixtures("timm")
def test_pre_processing_is_the_networks_own() -> None:
    settings = timm_settings("timm:tinynet")
    assert (settings.mean, settings.std, settings.input_size) == ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 96)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("name", "width", "told"),
    [
        ("timm:tinnet", 1.0, "timm has no such network .did you mean 'tinynet'"),
        ("timm:hf-hub:someone/thing", 1.0, "must be 'timm:' and the name of one of timm's networks"),
        ("timm:../x", 1.0, "must be 'timm:' and the name"),
        ("timm:tinynet", 0.5, "model.width = 0.5: the networks of timm have their own widths"),
    ],
)
def test_what_cannot_be_built_is_one_line(name: str, width: float, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        built(ModelConfig(name=name, width=width))
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("timm")
def test_a_network_with_tables_is_refused_by_their_name() -> None:
    with pytest.raises(ModelError, match=r"keeps a table in 'blocks.0.relative_position_index'"):
        built(ModelConfig(name="timm:tabular"))


@pytest.mark.usefixtures("timm")
def test_weights_that_cannot_be_had_are_one_line_with_a_way_out() -> None:
    with pytest.raises(ModelError, match=r"OSError: the hub cannot be reached for a long time.*model.weights=FILE"):
        published_timm_network("timm:tinynet")


def test_without_timm_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # importing it is an ImportError
    with pytest.raises(MissingExtraError, match=r"needs the package 'timm': .*install.*timm"):
        built()


class Standardised(nn.Conv2d):
    """A convolution that is not what its base class is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (Standardised(3, 4, 3), r"a Standardised layer \('0'\) cannot be written as ONNX"),
        (nn.LayerNorm(4), r"a LayerNorm layer \('0'\) cannot be written as ONNX"),
    ],
)
def test_a_layer_that_onnx_cannot_say_is_named(layer: nn.Module, told: str) -> None:
    graph = Graph((3, 4, 4))
    with pytest.raises(ModelError, match=told):
        add_network(graph, nn.Sequential(layer), (graph.input, torch.ones(2, 3, 4, 4)))


def test_placeholders_stand_in_for_a_broken_package_and_are_forgotten(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = f"{tmp_path}/brokenpackage.py"
    with open(broken, "w", encoding="utf-8") as file:
        file.write("raise RuntimeError('made for another version')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with importable("brokenpackage"):
        from brokenpackage.deeper.still import Mode  # type: ignore[import-not-found]

        assert Mode.NEAREST == "Mode.NEAREST"
    assert not [name for name in sys.modules if name.startswith("brokenpackage")]
    with importable("json"):  # one that works is left alone
        import json

        assert json.loads("[1]") == [1]
    assert "json" in sys.modules


def test_names_of_timm_are_not_listed_among_the_built_in_ones() -> None:
    assert not [name for name in model_names() if name.startswith("timm:")]
    with pytest.raises(ConfigError, match="timm:NAME"):
        built(ModelConfig(name="tinynet"))


@pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="timm is not installed")
def test_a_real_network_is_the_same_after_all_that() -> None:
    model = built(ModelConfig(name="timm:mobilenetv3_small_100"))
    initialise(model, 0)
    x_NCHW = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    calibrate(model, x_NCHW)
    halves = partition(model, default_cut("timm:mobilenetv3_small_100"))
    with torch.no_grad():
        expected = model.eval()(x_NCHW)
    activation = by_onnx(halves.front, x_NCHW)
    assert activation.shape[1:] == (24, 8, 8)
    np.testing.assert_allclose(by_onnx(halves.back, torch.from_numpy(activation)), expected.numpy(), atol=1e-4)
