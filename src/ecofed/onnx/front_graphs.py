"""From a front bundle to ONNX, without PyTorch: so a device can run any front of a built-in network that it is sent.

The bundle names the network and brings the weights; what no weight tells (strides and pools) stands in a table here.
Tests hold every front that this file writes against the PyTorch one.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ecofed.errors import ModelError
from ecofed.onnx.activations import relu6
from ecofed.onnx.graph import Graph, convolution, maximum_pool, normalisation
from ecofed.wire import FrontBundle

#: For each built-in network and each of its plain blocks, from the first: (stride, whether a pool ends it).
_PLAIN_BLOCKS: Mapping[str, tuple[tuple[int, bool], ...]] = {
    "vgg11": ((1, True), (1, True), (1, False), (1, True), (1, False), (1, True), (1, False), (1, False)),
    "resnet9": ((1, True), (1, True)),
    "alexnet": ((2, True), (1, True), (1, False), (1, False), (1, True)),
    "lenet": ((1, True), (1, True)),
}


#: Of EfficientNet-Lite0: the stem's stride and, for each block, that of its depthwise convolution.
_LITE0_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
_LITE0_EPSILON = 1e-3


def front_to_onnx(bundle: FrontBundle, mode: str) -> bytes:
    """An ONNX file: images (N, C, S, S) float32, padded and normalised, to activations (N, *activation_shape).

    Args:
        bundle: the front.
        mode: ``frozen``, ``batch`` or ``group``: how its layers normalise, as in :class:`ecofed.config.schema.Config`.

    Raises:
        ModelError: a front of another network, or a cut inside a block.
    """
    if "group" in (bundle.normalisation, mode) and bundle.normalisation != mode:
        raise ModelError(f"a front with {bundle.normalisation} normalisation cannot run as {mode}")
    graph = Graph((bundle.in_channels, bundle.input_size, bundle.input_size))
    value = graph.input
    try:
        if bundle.model == "efficientnet-lite0":
            value = _lite0(graph, bundle, mode)
        else:
            for number, (stride, pool) in enumerate(_blocks(bundle), start=1):
                value = _block(graph, value, _under(bundle.weights, f"block{number}"), mode, stride, pool)
        if "bottleneck.conv.weight" in bundle.weights:
            value = _block(graph, value, _under(bundle.weights, "bottleneck"), mode, 1, pool=False)
    except KeyError as error:
        raise ModelError(f"front of {bundle.model} up to '{bundle.cut}': its weights lack {error}") from error
    return graph.encode(value, bundle.activation_shape)


def _blocks(bundle: FrontBundle) -> tuple[tuple[int, bool], ...]:
    blocks = _PLAIN_BLOCKS.get(bundle.model, ())
    names = [f"block{number}" for number in range(1, len(blocks) + 1)]
    return blocks[: _until_the_cut(bundle, names)]


def _until_the_cut(bundle: FrontBundle, names: list[str]) -> int:
    """How many of the network's parts are in its front."""
    if bundle.cut not in names:
        raise ModelError(
            f"a device without PyTorch does not know the front of {bundle.model} up to '{bundle.cut}': "
            "bring it as ONNX ('ecofed export front'), or install ecofed[train] on the device"
        )
    return names.index(bundle.cut) + 1


def _lite0(graph: Graph, bundle: FrontBundle, mode: str) -> str:
    """The stem and the inverted residual blocks up to the cut; all convolutions are padded as TensorFlow does."""
    names = ["stem", *(f"block{number}" for number in range(1, len(_LITE0_STRIDES)))]
    value, size = graph.input, bundle.input_size
    for name, stride in zip(names[: _until_the_cut(bundle, names)], _LITE0_STRIDES, strict=False):
        arrays = _under(bundle.weights, name)
        start, in_channels = value, 0
        parts = [""] if name == "stem" else ["expand.", "depthwise.", "project."]
        for part in [part for part in parts if part != "expand." or f"{part}conv.weight" in arrays]:
            own = _under(arrays, part.removesuffix(".")) if part else arrays
            in_channels = in_channels or own["conv.weight"].shape[1 if part != "depthwise." else 0]
            steps = stride if part in ("", "depthwise.") else 1
            value = _same_convolution(graph, value, own, mode, size, steps, depthwise=part == "depthwise.")
            size = -(-size // steps)
            value = value if part == "project." else relu6(graph, value)
        if name != "stem" and stride == 1 and in_channels == len(arrays["project.conv.weight"]):
            value = graph.node("Add", start, value)
    return value


def _same_convolution(
    graph: Graph, x: str, arrays: Mapping[str, np.ndarray], mode: str, size: int, stride: int, *, depthwise: bool
) -> str:
    weight = arrays["conv.weight"]
    if weight.ndim != 4:
        raise ModelError(f"a convolution's weight of shape {weight.shape}")
    total = max((-(-size // stride) - 1) * stride + weight.shape[2] - size, 0)
    near, far = total // 2, total - total // 2
    value = convolution(
        graph,
        x,
        weight,
        None,
        stride=(stride, stride),
        padding=(near, near, far, far),
        groups=len(weight) if depthwise else 1,
    )
    groups = group_count(len(weight)) if mode == "group" else 1
    return normalisation(graph, value, _under(arrays, "norm"), mode, groups=groups, epsilon=_LITE0_EPSILON)


def _block(graph: Graph, value: str, arrays: Mapping[str, np.ndarray], mode: str, stride: int, pool: bool) -> str:
    weight = arrays["conv.weight"]
    if weight.ndim != 4:
        raise ModelError(f"a convolution's weight of shape {weight.shape}")
    half = weight.shape[2] // 2
    value = convolution(graph, value, weight, arrays.get("conv.bias"), stride=(stride, stride), padding=(half, half))
    groups = group_count(len(weight)) if mode == "group" else 1
    value = graph.node("Relu", normalisation(graph, value, _under(arrays, "norm"), mode, groups=groups))
    return maximum_pool(graph, value, (2, 2), (2, 2)) if pool else value


def group_count(channels: int) -> int:
    """How many groups GroupNorm has over this many channels (the rule of the networks' GroupNorm)."""
    return max((count for count in range(1, 33) if channels % count == 0 and channels // count >= 4), default=1)


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}
