"""A front written as ONNX makes the codes that PyTorch makes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from front_builders import front_bundle, images

from ecofed.activations import make_codec
from ecofed.errors import ModelError
from ecofed.models.fronts import build_front
from ecofed.models.normalisation import _groups
from ecofed.onnx import Session, front_to_onnx
from ecofed.onnx.front_graphs import group_count
from ecofed.pretraining.bundling import early_bundle
from ecofed.pretraining.shipped import ShippedFront, shipped_fronts
from ecofed.wire import FrontBundle


def both(bundle: FrontBundle, mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Activations of the same images by PyTorch and by ONNX Runtime."""
    x_NCHW = images(40)
    with torch.no_grad():
        by_torch = build_front(bundle, mode)(torch.from_numpy(x_NCHW)).numpy()
    return by_torch, Session(front_to_onnx(bundle, mode))(x_NCHW)


@pytest.mark.parametrize(
    ("model", "cut", "width"),
    [
        ("vgg11", "block2", 1.0),
        ("vgg11", "block4", 0.25),
        ("resnet9", "block1", 0.5),
        ("alexnet", "block5", 0.25),
        ("efficientnet-lite0", "stem", 0.5),
        ("efficientnet-lite0", "block6", 1.0),
    ],
)
@pytest.mark.parametrize("mode", ["frozen", "group"])
def test_codes_equal_those_of_pytorch(model: str, cut: str, width: float, mode: str) -> None:
    bundle = front_bundle(model, cut, width, mode)
    by_torch, by_onnx = both(bundle, mode)
    codec = make_codec("uniform", 8, bundle.activation_shape, bundle.upper[8])
    rounding = 1e-5 * np.abs(by_torch).max()
    lowest, expected, highest, codes = (
        codec.encode(h, 10).rows.astype(int) for h in (by_torch - rounding, by_torch, by_torch + rounding, by_onnx)
    )
    assert ((lowest <= codes) & (codes <= highest)).all()  # they differ where a threshold is nearer than rounding
    assert (codes == expected).mean() >= 0.999


def test_a_front_may_end_within_a_head_whose_width_is_nobodys_default() -> None:
    bundle = front_bundle("efficientnet-lite0", "head.relu", 0.1, "group", channels=1, head_width=24)
    early = early_bundle(bundle, "head.conv", None)
    x_NCHW = torch.from_numpy(images(2, 1))
    for front in (build_front(bundle, "group"), build_front(early, "group")):
        assert front(x_NCHW).shape == (2, 24, 1, 1)


@pytest.mark.parametrize("front", shipped_fronts(), ids=lambda front: front.name)
def test_every_shipped_front_runs_without_pytorch(front: ShippedFront) -> None:
    whole = front.load()
    bits = max(whole.upper)
    bundle = FrontBundle.decode(whole.for_device(bits).encode())  # as a device receives it
    x_NCHW = images(10, front.in_channels)
    with torch.no_grad():
        by_torch = build_front(bundle, front.normalisation)(torch.from_numpy(x_NCHW)).numpy()
    by_onnx = Session(front_to_onnx(bundle, front.normalisation))(x_NCHW)
    codec = make_codec("uniform", bits, bundle.activation_shape, bundle.upper[bits])
    assert (codec.encode(by_onnx, 10).rows == codec.encode(by_torch, 10).rows).mean() >= 0.9999


def test_a_bottleneck_is_part_of_the_front() -> None:
    bundle = front_bundle("lenet", "block2", 1.0, "frozen", narrow=4)
    by_torch, by_onnx = both(bundle, "frozen")
    assert by_onnx.shape == (40, 4, 8, 8)
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-5)


def test_batch_statistics_are_those_of_the_batch() -> None:
    # Less exact than the others: PyTorch sums a batch in single precision.
    by_torch, by_onnx = both(front_bundle("vgg11", "block2", 0.5, "frozen"), "batch")
    np.testing.assert_allclose(by_onnx, by_torch, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 6, 12, 64, 100, 128, 512])
def test_group_normalisation_has_as_many_groups_as_in_the_networks(channels: int) -> None:
    assert group_count(channels) == _groups(channels)


def test_a_front_that_no_table_knows_is_refused_with_a_way_out() -> None:
    bundle = front_bundle("vgg11", "block2", 0.125, "frozen")
    with pytest.raises(ModelError, match=r"ecofed export front"):
        front_to_onnx(dataclasses.replace(bundle, model="mine"), "frozen")


def test_missing_weights_are_named() -> None:
    bundle = front_bundle("vgg11", "block2", 0.125, "frozen")
    weights = {name: array for name, array in bundle.weights.items() if name != "block2.conv.weight"}
    with pytest.raises(ModelError, match=r"lack 'conv.weight'"):
        front_to_onnx(dataclasses.replace(bundle, weights=weights), "frozen")


def test_what_is_not_onnx_is_one_error() -> None:
    with pytest.raises(ModelError, match="not a usable ONNX network"):
        Session(b"not a protobuf")
