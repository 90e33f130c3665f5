"""Any traceable network as ONNX, layer by layer, checked on the way: every layer is run to know its output's shape."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ecofed.errors import ModelError
from ecofed.models.normalisation import FrozenBatchNorm2d, RunningBatchNorm2d
from ecofed.onnx.graph import Graph, convolution, linear, maximum_pool, normalisation

#: A value of the graph, and the same value for an example batch.
Value = tuple[str, Tensor]


@torch.no_grad()
def add_network(graph: Graph, network: nn.Module, value: Value) -> Value:
    """Append a network (one input, one output, in evaluation mode) to ``graph``.

    Raises:
        ModelError: a layer or operation that has no counterpart here; the message names it.
    """
    traced = network if isinstance(network, fx.GraphModule) else fx.GraphModule(network, _Tracer().trace(network))
    values: dict[fx.Node, Value] = {}
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            values[node] = value
        elif node.op == "call_module":
            values[node] = _add_layer(graph, traced.get_submodule(str(node.target)), values[node.args[0]])
        elif node.op in ("call_function", "call_method"):
            values[node] = _add_call(graph, node, [values[argument] for argument in node.all_input_nodes])
        elif node.op == "output":
            return values[node.args[0]]
        else:
            raise ModelError(f"{type(network).__name__}: '{node.target}' (a bare parameter) cannot be written as ONNX")
    raise ModelError(f"{type(network).__name__} has no output")


def _add_layer(graph: Graph, layer: nn.Module, value: Value) -> Value:
    writer = next((_LAYERS[cls] for cls in type(layer).__mro__ if cls in _LAYERS), None)
    if writer is not None:
        return writer(graph, layer, value), layer(value[1])
    if not any(True for _ in layer.children()):
        raise ModelError(f"a {type(layer).__name__} layer cannot be written as ONNX")
    return add_network(graph, layer, value)


def _add_call(graph: Graph, node: fx.Node, inputs: list[Value]) -> Value:
    function = getattr(torch.Tensor, str(node.target)) if node.op == "call_method" else node.target
    operator_name = _CALLS.get(function)  # type: ignore[arg-type]
    plain_flatten = operator_name != "Flatten" or {*node.args[1:], *node.kwargs.values()} <= {1}
    if operator_name is None or not plain_flatten or len(inputs) != (2 if operator_name == "Add" else 1):
        raise ModelError(f"the operation '{node.name}' cannot be written as ONNX; use a layer for it")
    name = graph.node(operator_name, *(name for name, _ in inputs))
    example = inputs[0][1] + inputs[1][1] if operator_name == "Add" else _EXAMPLES[operator_name](inputs[0][1])
    return name, example


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in _LAYERS or super().is_leaf_module(m, module_qualified_name)


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
    sizes, wanted = value[1].shape[2:], _pair(layer.output_size)
    if any(size % want for size, want in zip(sizes, wanted, strict=True)):
        raise ModelError(f"adaptive pooling from {tuple(sizes)} to {wanted} cannot be written as ONNX: not a multiple")
    kernel = [size // want for size, want in zip(sizes, wanted, strict=True)]
    return graph.node("AveragePool", value[0], kernel_shape=kernel, strides=kernel)


def _relu(graph: Graph, layer: nn.Module, value: Value) -> str:  # noqa: ARG001 - one signature for all
    return graph.node("Relu", value[0])


def _flatten(graph: Graph, layer: Any, value: Value) -> str:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise ModelError("only Flatten() of everything but the batch can be written as ONNX")
    return graph.node("Flatten", value[0], axis=1)


def _same(graph: Graph, layer: nn.Module, value: Value) -> str:  # noqa: ARG001 - one signature for all
    return value[0]


_LAYERS: dict[type, Callable[[Graph, Any, Value], str]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    FrozenBatchNorm2d: _norm,
    RunningBatchNorm2d: _norm,
    nn.BatchNorm2d: _norm,
    nn.GroupNorm: _norm,
    nn.MaxPool2d: _maximum_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    nn.ReLU: _relu,
    nn.Flatten: _flatten,
    nn.Identity: _same,
    nn.Dropout: _same,
}
_CALLS: dict[Callable[..., Any], str] = {
    torch.relu: "Relu",
    F.relu: "Relu",
    torch.Tensor.relu: "Relu",
    torch.flatten: "Flatten",
    torch.Tensor.flatten: "Flatten",
    operator.add: "Add",
    torch.add: "Add",
}
_EXAMPLES: dict[str, Callable[[Tensor], Tensor]] = {"Relu": torch.relu, "Flatten": lambda x: x.flatten(1)}
