"""Any traceable network as ONNX, layer by layer, checked on the way: every layer is run to know its output's shape."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ecofed.errors import ModelError
from ecofed.models.normalisation import FrozenBatchNorm2d, GroupNorm, RunningBatchNorm2d
from ecofed.models.pooled import UnitBall
from ecofed.models.same_conv import SameConv2d
from ecofed.models.tracing import ThreadTracer
from ecofed.onnx.activations import hard_sigmoid, hard_swish, relu, relu6, sigmoid, silu
from ecofed.onnx.graph import Graph, convolution, linear, maximum_pool, normalisation

#: A value of the graph, and the same value for an example batch.
Value = tuple[str, Tensor]


@torch.no_grad()
def add_network(graph: Graph, network: nn.Module, value: Value) -> Value:
    """Append a network (one input, one output, in evaluation mode) to ``graph``.

    Raises:
        ModelError: a layer or operation that has no counterpart here; the message names it.
    """
    traced = network if isinstance(network, fx.GraphModule) else _traced(network)
    values: dict[fx.Node, Value] = {}
    for node in traced.graph.nodes:
        versions = {used: _version(values[used][1]) for used in node.all_input_nodes if used in values}
        if node.op == "placeholder":
            values[node] = value
        elif node.op == "call_module":
            values[node] = _add_layer(
                graph, str(node.target), traced.get_submodule(str(node.target)), values[node.args[0]]
            )
        elif node.op in ("call_function", "call_method"):
            values[node] = _add_call(graph, node, values)
        elif node.op == "output":
            return values[node.args[0]]
        else:
            raise ModelError(f"{type(network).__name__}: '{node.target}' (a bare parameter) cannot be written as ONNX")
        for used, version in versions.items():
            if _version(values[used][1]) != version:
                _written_over(node, used, values)
    raise ModelError(f"{type(network).__name__} has no output")


def _version(value: object) -> int:
    """How often it was written into; several outputs of a layer, which have no counterpart in ONNX, do not matter."""
    return value._version if isinstance(value, Tensor) else 0


def _written_over(node: fx.Node, used: fx.Node, values: dict[fx.Node, Value]) -> None:
    """Let whoever reads later what ``node`` wrote into see what it wrote (``nn.ReLU(inplace=True)``, ``x += y``).

    Raises:
        ModelError: it wrote into another view of a value, which later nodes read.
    """
    result, tensor = values[node], values[used][1]
    memory = tensor.untyped_storage().data_ptr()
    for other, (_, own) in values.items():
        if own is result[1]:
            values[other] = result
        elif own.untyped_storage().data_ptr() == memory and not other.users.keys() <= values.keys():
            raise ModelError(
                f"'{node.name}' writes into its input, which is used again and cannot be written as ONNX so; make it "
                "not in place"
            )


def _traced(network: nn.Module) -> fx.GraphModule:
    try:
        return fx.GraphModule(network, _Tracer().trace(network))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"a {type(network).__name__} layer cannot be written as ONNX ({reason})") from error


def _add_layer(graph: Graph, name: str, layer: nn.Module, value: Value) -> Value:
    written_as = next((cls for cls in type(layer).__mro__ if cls in _LAYERS), None)
    if written_as is not None and _computes_as(layer, written_as, value[1]):
        return _LAYERS[written_as](graph, layer, value), layer(value[1])
    is_own = type(layer).__module__.startswith("torch.nn.")
    if written_as is not None or (is_own and not any(True for _ in layer.children())):
        raise ModelError(f"a {type(layer).__name__} layer ('{name}') cannot be written as ONNX")
    return add_network(graph, layer, value)


def _computes_as(layer: nn.Module, written_as: type, example: Tensor) -> bool:
    """Whether a layer of a derived class does what the class does that it would be written as."""
    if type(layer).forward is written_as.forward:  # type: ignore[attr-defined]
        return True
    x = torch.linspace(-1, 1, example.numel()).view(example.shape)
    return torch.equal(layer(x), written_as.forward(layer, x))  # type: ignore[attr-defined]


def _add_call(graph: Graph, node: fx.Node, values: dict[fx.Node, Value]) -> Value:
    function: Any = getattr(torch.Tensor, str(node.target)) if node.op == "call_method" else node.target
    inputs = [values[argument] for argument in node.all_input_nodes]
    plain = len(inputs) == sum(isinstance(argument, fx.Node) for argument in node.args)
    arguments, options = fx.node.map_arg((node.args, dict(node.kwargs)), lambda used: values[used][1])
    settings = [argument for argument in (*node.args, *node.kwargs.values()) if not isinstance(argument, fx.Node)]
    name = _written_call(graph, function, [name for name, _ in inputs], settings) if plain else None
    refused = ModelError(f"the operation '{node.name}' cannot be written as ONNX; use a layer for it")
    if name is None:
        raise refused
    output: Tensor = function(*arguments, **options)
    if function in _FLATTEN and output.shape != inputs[0][1].flatten(1).shape:
        raise refused
    return name, output


def _written_call(graph: Graph, function: Any, inputs: list[str], settings: list[Any]) -> str | None:
    """The operator's output, or ``None`` where this function is none, with these settings."""
    if function in _SUMS or function in _PRODUCTS:
        both = len(inputs) == 2 and not settings
        return graph.node("Add" if function in _SUMS else "Mul", *inputs) if both else None
    if function in _ACTIVATIONS:
        return _ACTIVATIONS[function](graph, inputs[0])  # whether in place makes no difference here
    if function in _FLATTEN:
        return graph.node("Flatten", *inputs) if settings in ([1], [1, -1]) else None
    if function in (torch.mean, torch.Tensor.mean):
        axes, keep = (settings[0], bool(settings[1])) if len(settings) == 2 else ((*settings, None)[0], False)
        over_the_picture = isinstance(axes, (tuple, list)) and [axis % 4 for axis in axes] == [2, 3]
        return graph.node("ReduceMean", *inputs, axes=(2, 3), keepdims=int(keep)) if over_the_picture else None
    return None


class _Tracer(ThreadTracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return any(cls in _LAYERS for cls in type(m).__mro__) or super().is_leaf_module(m, module_qualified_name)


# --- one writer a layer ---


def _array(value: Tensor | None) -> Any:
    return None if value is None else value.detach().cpu().numpy()


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _conv(graph: Graph, layer: Any, value: Value) -> str:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise ModelError(
            f"a convolution with padding '{layer.padding}' ({layer.padding_mode}) cannot be written as ONNX"
        )
    return convolution(
        graph,
        value[0],
        _array(layer.weight),
        _array(layer.bias),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )


def _same_conv(graph: Graph, layer: Any, value: Value) -> str:
    pads = layer.pads(*value[1].shape[2:])
    return convolution(
        graph,
        value[0],
        _array(layer.weight),
        _array(layer.bias),
        stride=layer.stride,
        padding=pads,
        dilation=layer.dilation,
        groups=layer.groups,
    )


def _linear(graph: Graph, layer: Any, value: Value) -> str:
    if value[1].ndim != 2:
        raise ModelError("a linear layer over more than two dimensions cannot be written as ONNX; flatten before it")
    return linear(graph, value[0], _array(layer.weight), _array(layer.bias))


def _norm(graph: Graph, layer: Any, value: Value) -> str:
    if layer.weight is None:
        raise ModelError("a normalisation layer without scale and offset cannot be written as ONNX")
    statistics = getattr(layer, "running_mean", None) is not None
    mode = "group" if isinstance(layer, nn.GroupNorm) else "frozen" if statistics else "batch"
    arrays = {name: _array(tensor) for name, tensor in layer.state_dict().items()}
    return normalisation(
        graph, value[0], arrays, mode, groups=getattr(layer, "num_groups", 1), epsilon=float(layer.eps)
    )


def _maximum_pool(graph: Graph, layer: Any, value: Value) -> str:
    if layer.dilation != 1:
        raise ModelError("a pool with dilation cannot be written as ONNX")
    kernel, stride, padding = (_pair(size) for size in (layer.kernel_size, layer.stride, layer.padding))
    return maximum_pool(graph, value[0], kernel, stride, padding=padding, ceil=layer.ceil_mode)


def _adaptive_pool(graph: Graph, layer: Any, value: Value) -> str:
    sizes, asked = value[1].shape[2:], layer.output_size
    both = asked if isinstance(asked, tuple | list) else (asked, asked)
    wanted = tuple(size if want is None else want for size, want in zip(sizes, both, strict=True))
    if any(size % want for size, want in zip(sizes, wanted, strict=True)):
        raise ModelError(f"adaptive pooling from {tuple(sizes)} to {wanted} cannot be written as ONNX: not a multiple")
    kernel = [size // want for size, want in zip(sizes, wanted, strict=True)]
    return graph.node("AveragePool", value[0], kernel_shape=kernel, strides=kernel)


def _average_pool(graph: Graph, layer: Any, value: Value) -> str:
    if layer.divisor_override is not None:
        raise ModelError("an average pool with a divisor of its own cannot be written as ONNX")
    kernel, stride, padding = (_pair(size) for size in (layer.kernel_size, layer.stride, layer.padding))
    return graph.node(
        "AveragePool",
        value[0],
        kernel_shape=kernel,
        strides=stride,
        pads=[*padding, *padding],
        ceil_mode=int(layer.ceil_mode),
        count_include_pad=int(layer.count_include_pad),
    )


def _unit_ball(graph: Graph, layer: Any, value: Value) -> str:
    one = graph.constant(np.ones(1, np.float32))
    middle, radius = (graph.constant(_array(part)) for part in (layer.middle, layer.radius))
    units = graph.node("Div", graph.node("Sub", value[0], middle), radius)
    largest = graph.node("Max", graph.node("ReduceMax", graph.node("Abs", units), axes=(1, 2, 3), keepdims=1), one)
    norm = graph.node("ReduceL2", graph.node("Div", units, largest), axes=(1, 2, 3), keepdims=1)
    return graph.node("Div", units, graph.node("Max", graph.node("Mul", largest, norm), one))


def _activation(write: Callable[[Graph, str], str]) -> Callable[[Graph, Any, Value], str]:
    return lambda graph, _, value: write(graph, value[0])


def _flatten(graph: Graph, layer: Any, value: Value) -> str:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise ModelError("only Flatten() of everything but the batch can be written as ONNX")
    return graph.node("Flatten", value[0], axis=1)


def _same(graph: Graph, layer: nn.Module, value: Value) -> str:  # noqa: ARG001 - one signature for all
    return value[0]


_LAYERS: dict[type, Callable[[Graph, Any, Value], str]] = {
    SameConv2d: _same_conv,
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    FrozenBatchNorm2d: _norm,
    RunningBatchNorm2d: _norm,
    nn.BatchNorm2d: _norm,
    nn.GroupNorm: _norm,
    GroupNorm: _norm,
    nn.MaxPool2d: _maximum_pool,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    UnitBall: _unit_ball,
    nn.ReLU: _activation(relu),
    nn.ReLU6: _activation(relu6),
    nn.Sigmoid: _activation(sigmoid),
    nn.Hardsigmoid: _activation(hard_sigmoid),
    nn.SiLU: _activation(silu),
    nn.Hardswish: _activation(hard_swish),
    nn.Flatten: _flatten,
    nn.Identity: _same,
    nn.Dropout: _same,
}
_ACTIVATIONS: dict[Callable[..., Any], Callable[[Graph, str], str]] = {
    torch.relu: relu,
    F.relu: relu,
    torch.Tensor.relu: relu,
    F.relu6: relu6,
    torch.sigmoid: sigmoid,
    torch.Tensor.sigmoid: sigmoid,
    F.hardsigmoid: hard_sigmoid,
    F.silu: silu,
    F.hardswish: hard_swish,
}
_FLATTEN = (torch.flatten, torch.Tensor.flatten)
_SUMS = (operator.add, operator.iadd, torch.add, torch.Tensor.add)
_PRODUCTS = (operator.mul, operator.imul, torch.mul, torch.Tensor.mul)
