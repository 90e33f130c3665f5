"""A writer of ONNX files: the few protobuf messages of a graph of float tensors, by their field numbers.

The `onnx` package (and protobuf and ml_dtypes with it) would be a dependency of 30 MB for what takes a page. Field
numbers and types are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (they never change).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecofed.errors import ModelError
from ecofed.files.disk import json_text
from ecofed.wire import int8_codes

#: IR version 8 and operator set 13 (2021): read by every ONNX Runtime since 1.11.
IR_VERSION = 8
OPSET = 13

_ELEMENT_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int8): 3, np.dtype(np.int64): 7}
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7

Attribute = float | int | str | Sequence[int]


class Graph:
    """A graph of one input and one output, both batches of float32: add nodes in order, then :meth:`encode`."""

    def __init__(self, input_shape: Sequence[int], *, int8: bool = False) -> None:
        self.input_shape = tuple(input_shape)
        self._int8 = int8
        self._nodes: list[bytes] = []
        self._constants: dict[str, bytes] = {}
        self._count = 0
        self.input = "input"
        """Name of the input value, shape (N, *input_shape)."""

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        """Store an array (float32, int8 or int64) in the file; returns the name of its value."""
        if name is None:
            name = self._fresh("constant")
        if name not in self._constants:
            content = np.asarray(array, order="C")  # keeps a scalar a scalar
            content = content.astype(content.dtype.newbyteorder("<"))
            tensor = [_number(1, size) for size in content.shape]
            tensor += [_number(2, _ELEMENT_TYPES[content.dtype]), _text(8, name), _bytes(9, content.tobytes())]
            self._constants[name] = b"".join(tensor)
        return name

    def weight(self, array: np.ndarray) -> str:
        """A layer's weight (out, ...): as it is, or with ``int8`` in 8 bits and a scale per output channel.

        Weights that were rounded so before (a front delivered as int8) lose nothing.
        """
        if not self._int8:
            return self.constant(array)
        codes, scale_O = int8_codes(array)
        return self.node("DequantizeLinear", self.constant(codes), self.constant(scale_O), axis=0)

    def node(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """Add an operator; returns the name of its (first) output."""
        output = self._fresh(operator.lower())
        parts = [_text(1, value) for value in inputs]
        parts += [_text(2, output), _text(3, output), _text(4, operator)]
        parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(parts))
        return output

    def encode(self, output: str, output_shape: Sequence[int], metadata: Mapping[str, str] | None = None) -> bytes:
        """The file. ``output`` is a value of shape (N, *output_shape); ``metadata`` are free key-value texts."""
        graph = [_bytes(1, node) for node in self._nodes]
        graph += [_text(2, "ecofed")]
        graph += [_bytes(5, tensor) for tensor in self._constants.values()]
        graph += [_bytes(11, _value(self.input, self.input_shape)), _bytes(12, _value(output, output_shape))]
        model = [_number(1, IR_VERSION), _text(2, "ecofed"), _bytes(8, _number(2, OPSET)), _bytes(7, b"".join(graph))]
        model += [_bytes(14, _text(1, key) + _text(2, value)) for key, value in sorted((metadata or {}).items())]
        return b"".join(model)

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _value(name: str, shape: Sequence[int]) -> bytes:
    """A ValueInfo: a float tensor whose first dimension is free."""
    dimensions = [_bytes(1, _text(2, "N")), *(_bytes(1, _number(1, size)) for size in shape)]
    tensor = _number(1, 1) + _bytes(2, b"".join(dimensions))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _attribute(name: str, value: Attribute) -> bytes:
    if isinstance(value, float):
        return _text(1, name) + _tag(2, 5) + struct.pack("<f", value) + _number(20, _FLOAT)
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, _INT)
    if isinstance(value, str):
        return _text(1, name) + _bytes(4, value.encode()) + _number(20, _STRING)
    return _text(1, name) + b"".join(_number(8, item) for item in value) + _number(20, _INTS)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1  # protobuf writes a negative int64 as its two's complement
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _number(field: int, value: int) -> bytes:
    return _tag(field, 0) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


# --- layers: what PyTorch calls one layer may take several operators ---

#: What PyTorch's normalisation layers add to a variance.
EPSILON = 1e-5

Arrays = Mapping[str, np.ndarray]


def convolution(
    graph: Graph,
    x: str,
    weight: np.ndarray,
    bias: np.ndarray | None,
    *,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> str:
    """``torch.nn.Conv2d``; ``weight`` is (out, in / groups, height, width), ``bias`` (out,).

    ``padding``: of height and width, or of top, left, bottom and right.
    """
    pads = padding if len(padding) == 4 else [*padding, *padding]
    inputs = [graph.weight(weight)] + ([] if bias is None else [graph.constant(bias)])
    return graph.node(
        "Conv",
        x,
        *inputs,
        kernel_shape=weight.shape[2:],
        strides=stride,
        pads=pads,
        dilations=dilation,
        group=groups,
    )


def normalisation(graph: Graph, x: str, arrays: Arrays, mode: str, *, groups: int = 1, epsilon: float = EPSILON) -> str:
    """A normalisation layer over (N, C, H, W) with ``weight`` and ``bias`` (C,).

    ``frozen``: statistics ``running_mean`` and ``running_var`` (C,). ``batch``: those of the batch. ``group``: those of
    each image's groups of channels.
    """
    weight, bias = arrays["weight"], arrays["bias"]
    if mode == "frozen":
        constants = (weight, bias, arrays["running_mean"], arrays["running_var"])
        return graph.node("BatchNormalization", x, *(graph.constant(array) for array in constants), epsilon=epsilon)
    if mode == "batch":
        centred = graph.node("Sub", x, graph.node("ReduceMean", x, axes=(0, 2, 3)))
        variance = graph.node("ReduceMean", graph.node("Mul", centred, centred), axes=(0, 2, 3))
        deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(np.array(epsilon, np.float32))))
        normal = graph.node("Div", centred, deviation)
    elif mode == "group":
        shape = graph.node("Shape", x)
        grouped = graph.node("Reshape", x, graph.constant(np.array([0, groups, -1], np.int64)))
        ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
        scales = (graph.constant(ones), graph.constant(zeros))
        normal = graph.node("Reshape", graph.node("InstanceNormalization", grouped, *scales, epsilon=epsilon), shape)
    else:
        raise ModelError(f"normalisation '{mode}' cannot be written as ONNX")
    scaled = graph.node("Mul", normal, graph.constant(_per_channel(weight)))
    return graph.node("Add", scaled, graph.constant(_per_channel(bias)))


def maximum_pool(
    graph: Graph,
    x: str,
    kernel: Sequence[int],
    stride: Sequence[int],
    *,
    padding: Sequence[int] = (0, 0),
    ceil: bool = False,
) -> str:
    """``torch.nn.MaxPool2d``."""
    pads = [*padding]
    return graph.node("MaxPool", x, kernel_shape=kernel, strides=stride, pads=pads + pads, ceil_mode=int(ceil))


def linear(graph: Graph, x: str, weight: np.ndarray, bias: np.ndarray | None) -> str:
    """``torch.nn.Linear``; ``weight`` is (out, in), ``bias`` (out,)."""
    inputs = [graph.weight(weight)] + ([] if bias is None else [graph.constant(bias)])
    return graph.node("Gemm", x, *inputs, transB=1)


def _per_channel(array: np.ndarray) -> np.ndarray:
    return array.reshape(1, -1, 1, 1)


def metadata_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Metadata for :meth:`Graph.encode`: one entry, so that other tools show it in one piece."""
    return {"ecofed": json_text(values, sort_keys=True)}
