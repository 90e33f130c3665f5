"""What is counted from a network, against PyTorch's own counter and sums done by hand."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ecofed.config.problem import ModelConfig
from ecofed.config.schema import Config
from ecofed.costs.profiles import Machine
from ecofed.models import build_model, model_names
from ecofed.planning.counting import CountedNetwork
from ecofed.planning.cut_network import build_workload, counted_network, stand_in_bundle
from ecofed.pretraining.shipped import shipped_fronts

MACHINE = Machine(
    name="m",
    title="m",
    inference_flops_per_second=1e9,
    training_flops_per_second=5e8,
    memory_bytes_per_second=1e15,
    call_overhead_seconds=0.0,
    memory_bytes=10**9,
    runtime_bytes=0,
)


#: Of two hundred layers, which takes seconds.
LARGE = "efficientnet-lite0"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.ci] * (name == LARGE)) for name in model_names()]
)
def test_flops_agree_with_pytorch_forward_and_backward(name: str) -> None:
    model = build_model(ModelConfig(name=name, width=0.1), in_channels=3, classes=10, normalisation="group")
    counted = CountedNetwork(model, 3)
    whole = counted.whole()
    with FlopCounterMode(display=False) as counter:
        output = model(torch.zeros(1, 3, 32, 32))
        forward = counter.get_total_flops()
        output.sum().backward()
    assert whole.flops == forward
    if name != "efficientnet-lite0":  # PyTorch counts a depthwise convolution's backward pass as if it were a full one
        assert whole.training_flops() == counter.get_total_flops()
    assert whole.parameter_bytes == 4 * sum(value.numel() for value in model.parameters())
    assert whole.tensors == {key: tuple(value.shape) for key, value in model.state_dict().items()}
    for cut in counted.cuts:
        front, back, shape = counted.halves(cut)
        assert front.flops + back.flops == whole.flops
        assert front.tensors.keys() | back.tensors.keys() == whole.tensors.keys()
        assert len(shape) == 3


def test_the_papers_network() -> None:
    network = counted_network(Config().replace(model__name="vgg11"), 3, 10)
    front, back, shape = network.halves("block2")
    assert shape == (128, 8, 8)
    assert front.parameter_bytes == 4 * 76_032
    assert front.parameter_bytes + back.parameter_bytes == 4 * 34_440_970
    # 3x3 convolutions: 27 x 64 at 32x32, and 576 x 128 at 16x16; two FLOPs a multiplication.
    assert front.flops == 2 * (27 * 64 * 1024 + 576 * 128 * 256)
    # The convolution's output and the normalised one are alive together: twice 64 x 32 x 32 floats.
    assert front.live_bytes == 2 * 4 * 64 * 32 * 32


def test_the_gradient_of_the_input_is_counted_where_it_is_needed() -> None:
    network = counted_network(Config().replace(model__name="lenet"), 1, 10)
    front, back, _ = network.halves("block2")
    first = next(layer for layer in back.layers if layer.flops)
    assert [layer.at_input for layer in front.layers].count(True) == 1
    plain = back.training_seconds(MACHINE, 10)
    with_input = back.training_seconds(MACHINE, 10, input_gradient=True)
    assert with_input - plain == pytest.approx(10 * first.flops / 5e8 if first.at_input else 0.0)
    assert back.forward_seconds(MACHINE, 10) == pytest.approx(10 * back.flops / 5e8)
    assert back.inference_seconds(MACHINE, 10) == pytest.approx(10 * back.flops / 1e9)


def test_training_needs_more_memory_than_inference() -> None:
    whole = counted_network(Config().replace(model__name="resnet9"), 3, 10).whole()
    assert whole.training_memory(10) > 3 * whole.parameter_bytes > 2 * whole.inference_memory(1)
    assert whole.training_memory(20) - whole.training_memory(10) == 10 * sum(one.saved_bytes for one in whole.layers)


@pytest.mark.parametrize("front", shipped_fronts(), ids=lambda front: front.name)
def test_the_length_of_a_shipped_front_is_known(front: object) -> None:
    bundle = front.load()  # type: ignore[attr-defined]
    bits = min(bundle.upper)
    model = {"model__name": bundle.model, "model__width": bundle.width, "model__head_width": 16}
    config = Config().replace(**model, codec__bits=bits, front__precision="full")
    network = counted_network(config, bundle.in_channels, 10)
    work = build_workload(config, network, bundle.cut, in_channels=bundle.in_channels, classes=10, bundle=bundle)
    assert work.bundle_bytes == len(bundle.for_device(bits).encode())
    assert work.upload_shape == bundle.activation_shape


def test_a_stand_in_takes_no_memory_and_has_the_activations_shape() -> None:
    config = Config().replace(model__name="vgg11")
    bundle = stand_in_bundle(config, counted_network(config, 3, 10), "block4", 3)
    assert bundle.activation_shape == (256, 4, 4)
    assert all(array.base is not None for array in bundle.weights.values())
