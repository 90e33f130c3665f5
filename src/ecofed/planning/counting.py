"""Counts what a network costs from the network itself.

The network is traced into its layers (:mod:`ecofed.models.partition`) and run once, with weights nobody has set. In a
layer with a weight (convolution, linear) each output entry is the product of one row of it and a part of the input;
PyTorch's hooks say what is kept for the backward pass. Tests compare the sums with PyTorch's own counter, whose import
takes seconds.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from ecofed.costs.workload import Layer, Segment
from ecofed.errors import ModelError
from ecofed.models.blank import blank
from ecofed.models.partition import _objection, _possible, _trace, _Traced

_SAMPLES = 2
#: Two gigabytes of weights are never given memory.
_MOST_ENTRIES = 500_000_000


@dataclass(frozen=True, kw_only=True)
class _Node:
    """One call in the network's graph."""

    layer: Layer
    tensors: dict[str, tuple[int, ...]]
    parameters: dict[str, tuple[int, ...]]
    output_bytes: int
    """0 where the output is a view of the input."""
    output_shape: tuple[int, ...]


class CountedNetwork:
    """A network's costs, and those of both halves for every possible cut."""

    def __init__(self, model: nn.Module, in_channels: int, input_size: int = 32) -> None:
        self._traced: _Traced = _trace(_blank(model))
        shape = (in_channels, input_size, input_size)
        self._nodes = _count(self._traced, shape)
        for value in self._traced.model.state_dict(keep_vars=True).values():
            value.data = torch.empty(0)  # counted: nobody needs the memory any more
        self._input_bytes = 4 * math.prod(shape)
        self._halves: dict[str, tuple[Segment, Segment, tuple[int, int, int]]] = {}

    @cached_property
    def cuts(self) -> list[str]:
        """Layers after which the network can be cut and an image-like activation (C, H, W) crosses, in order.

        A block is named instead of its last layer.
        """
        names: dict[fx.Node, str] = {}
        for name in _possible(self._traced):
            node = self._traced.outputs[name][0]
            if node is not None and len(self._nodes[node].output_shape) == 4:
                names[node] = name if node not in names else min(name, names[node], key=len)
        return list(names.values())

    @property
    def output_shape(self) -> tuple[int, ...]:
        """What it makes of two images; empty where that is no tensor that a layer made."""
        (returned,) = (node.args[0] for node in self._traced.graph.nodes if node.op == "output")
        node = self._nodes.get(returned) if isinstance(returned, fx.Node) else None
        return () if node is None else node.output_shape

    def whole(self) -> Segment:
        """The network uncut."""
        return self._segment(list(self._nodes))

    def halves(self, cut: str) -> tuple[Segment, Segment, tuple[int, int, int]]:
        """Front, back, and the activation's (C, H, W).

        Raises:
            ModelError: the network cannot be cut there.
        """
        if cut not in self._halves:
            self._halves[cut] = self._new_halves(cut)
        return self._halves[cut]

    def _new_halves(self, cut: str) -> tuple[Segment, Segment, tuple[int, int, int]]:
        objection = _objection(self._traced, cut)
        if objection:
            raise ModelError(f"cannot cut after '{cut}': {objection}; cut after one of: {', '.join(self.cuts)}")
        node = self._traced.outputs[cut][0]
        assert node is not None
        before = self._traced.ancestors(node)
        front = [each for each in self._nodes if each in before]
        back = [each for each in self._nodes if each not in before]
        shape = self._nodes[node].output_shape
        if len(shape) != 4:
            raise ModelError(
                f"cannot cut after '{cut}': its activation is flat; cut after one of: {', '.join(self.cuts)}"
            )
        return self._segment(front), self._segment(back), (shape[1], shape[2], shape[3])

    def between(self, first: str, last: str) -> Segment:
        """What comes after layer ``first``, up to layer ``last``; both are possible cuts."""
        start, end = self._traced.outputs[first][0], self._traced.outputs[last][0]
        assert start is not None
        assert end is not None
        inside = self._traced.ancestors(end) - self._traced.ancestors(start)
        return self._segment([node for node in self._nodes if node in inside])

    def _segment(self, nodes: list[fx.Node]) -> Segment:
        counted, inside = [self._nodes[node] for node in nodes], set(nodes)
        return Segment(
            layers=tuple(
                dataclasses.replace(self._nodes[node].layer, at_input=not inside.intersection(node.all_input_nodes))
                for node in nodes
            ),
            live_bytes=self._live_bytes(nodes),
            tensors={name: shape for one in counted for name, shape in one.tensors.items()},
            parameters={name: shape for one in counted for name, shape in one.parameters.items()},
        )

    def _live_bytes(self, nodes: list[fx.Node]) -> int:
        """The most bytes of inputs and outputs that are needed at one time, layer after layer."""
        last_use = {value: at for at, node in enumerate(nodes) for value in node.all_input_nodes}
        most = 0
        for at, node in enumerate(nodes):
            alive = {value for value, end in last_use.items() if end >= at and (value not in nodes[at:])} | {node}
            most = max(most, sum(self._size(value) for value in alive))
        return most

    def _size(self, node: fx.Node) -> int:
        return self._nodes[node].output_bytes if node in self._nodes else self._input_bytes


def count_segment(module: nn.Module, input_shape: Collection[int]) -> Segment:
    """The costs of any module with one input of this shape (without the batch)."""
    network = CountedNetwork.__new__(CountedNetwork)
    network._nodes = _count(_trace(_blank(module)), input_shape)
    network._input_bytes = 4 * math.prod(input_shape)
    return network.whole()


def _blank(module: nn.Module) -> nn.Module:
    """A copy in training mode whose values are never set; where it is huge, without values (which is slower)."""
    entries = sum(value.numel() for value in (*module.parameters(), *module.buffers()))
    return blank(module, "cpu" if entries <= _MOST_ENTRIES else "meta").requires_grad_(True).train()


def _count(traced: _Traced, input_shape: Collection[int]) -> dict[fx.Node, _Node]:
    """Each call's costs for one sample; two are run, because a batch of one has no statistics."""
    counter = _Counter(traced)
    device = next((value.device for value in traced.model.parameters()), torch.device("cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so little work, waking the others takes longest
    try:
        counter.run(torch.empty(_SAMPLES, *input_shape, device=device))
    finally:
        torch.set_num_threads(threads)
    return counter.nodes


class _Counter(fx.Interpreter):
    """Runs the graph and notes what each call costs."""

    def __init__(self, traced: _Traced) -> None:
        super().__init__(fx.GraphModule(traced.model, traced.graph))
        self._traced = traced
        self.nodes: dict[fx.Node, _Node] = {}
        self._saved = 0
        self._known: dict[int, Tensor] = {}
        """Storages that are parameters or were saved already; the tensors are kept so that no number is reused."""
        self._named: dict[str, Tensor] = traced.model.state_dict(keep_vars=True)
        for value in self._named.values():
            self._known[_storage(value)] = value

    def run(self, *inputs: Any, **options: Any) -> Any:
        with torch.autograd.graph.saved_tensors_hooks(self._note, lambda kept: kept):
            return super().run(*inputs, **options)

    def run_node(self, n: fx.Node) -> Any:
        saved = self._saved
        output = super().run_node(n)
        if n.op in ("placeholder", "output", "get_attr") or not isinstance(output, Tensor):
            return output
        inputs = [self.env[node] for node in n.all_input_nodes if isinstance(self.env.get(node), Tensor)]
        tensors, parameters = self._state(n)
        is_view = _storage(output) in {_storage(value) for value in inputs}
        self.nodes[n] = _Node(
            layer=Layer(
                name=str(n.target) if n.op == "call_module" else n.name,
                flops=2 * _multiplications(n, inputs, parameters, output) // _SAMPLES,
                parameters=sum(math.prod(shape) for shape in parameters.values()),
                input_entries=sum(value.numel() for value in inputs) // _SAMPLES,
                output_entries=output.numel() // _SAMPLES,
                saved_bytes=(self._saved - saved) // _SAMPLES,
                at_input=False,
            ),
            tensors=tensors,
            parameters=parameters,
            output_bytes=0 if is_view else 4 * output.numel() // _SAMPLES,
            output_shape=tuple(output.shape),
        )
        return output

    def _note(self, kept: Tensor) -> Tensor:
        if _storage(kept) not in self._known:
            self._known[_storage(kept)] = kept
            self._saved += kept.untyped_storage().nbytes()
        return kept

    def _state(self, node: fx.Node) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
        """Shapes of the tensors that this call uses (state, and trainable), by name in the whole network."""
        used = self._traced.states[node]
        for value in node.all_input_nodes:
            if value.op == "get_attr":
                used = used | self._traced.states[value]
        mine = {name: value for name, value in self._named.items() if any(value is one for one in used)}
        # Indices and masks do not travel: networks have their own.
        tensors = {name: tuple(value.shape) for name, value in mine.items() if value.is_floating_point()}
        return tensors, {name: shape for name, shape in tensors.items() if isinstance(self._named[name], nn.Parameter)}


def _multiplications(
    node: fx.Node, inputs: list[Tensor], parameters: dict[str, tuple[int, ...]], output: Tensor
) -> int:
    """Of a convolution or a matrix product; everything else is bound by memory."""
    weights = [shape for shape in parameters.values() if len(shape) > 1]
    if weights:
        return output.numel() * sum(math.prod(shape[1:]) for shape in weights)
    if node.target in (torch.matmul, torch.bmm, operator.matmul, "matmul", "bmm"):
        return output.numel() * inputs[0].shape[-1]
    return 0


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
