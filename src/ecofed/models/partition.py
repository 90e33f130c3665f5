"""Cut any network in two after a named layer: ``front`` before it, ``back`` after it.

The network is traced once (``torch.fx``) into a graph of layer calls. A cut is possible where a single value
crosses it. Both halves keep the whole network's parameter names and its very parameters: nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from ecofed.config.class_identity import listed
from ecofed.errors import ModelError, nearest
from ecofed.models.outputs import output_of
from ecofed.models.tracing import ThreadTracer, why_unused


@dataclass(frozen=True)
class Partition:
    """A network in two halves. ``back(front(x))`` is the whole network, exactly."""

    front: nn.Module
    back: nn.Module
    layer: str


class _Tracer(ThreadTracer):
    """Keeps childless modules whole (what they do may depend on training mode), and notes what every module returns."""

    # Without it a buffer that the forward pass computes with would be frozen into a constant.
    proxy_buffer_attributes = True

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, list[fx.Node | None]] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(True for _ in m.children()) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = super().call_module(m, forward, args, kwargs)
        if self.elsewhere:
            return output
        self.outputs.setdefault(self.path_of_module(m), []).append(
            output.node if isinstance(output, fx.Proxy) else None
        )
        return output


@dataclass(frozen=True)
class _Traced:
    """A network's graph, and for each layer the nodes of what it returned, one for each call."""

    model: nn.Module
    graph: fx.Graph
    outputs: Mapping[str, list[fx.Node | None]]

    def crossing(self, cut: fx.Node) -> set[fx.Node]:
        """Values computed up to ``cut`` that something after it uses. The cut works if that is ``cut`` alone."""
        before = self.ancestors(cut)
        return {value for node in self.graph.nodes if node not in before for value in node.all_input_nodes} & before

    def ancestors(self, cut: fx.Node) -> set[fx.Node]:
        """``cut`` and every node that it depends on."""
        found, waiting = {cut}, [cut]
        while waiting:
            for node in waiting.pop().all_input_nodes:
                if node not in found:
                    found.add(node)
                    waiting.append(node)
        return found

    @cached_property
    def states(self) -> Mapping[fx.Node, set[Tensor]]:
        """Parameters and buffers that each node uses."""
        return {node: self._state_of(node) for node in self.graph.nodes}

    def _state_of(self, node: fx.Node) -> set[Tensor]:
        if node.op == "get_attr":
            holder, _, name = str(node.target).rpartition(".")
            value = getattr(self.model.get_submodule(holder), name)
            return {value} if isinstance(value, Tensor) else set()
        if node.op == "call_module":
            module = self.model.get_submodule(str(node.target))
            return {*module.parameters(), *module.buffers()}
        return set()

    def shared(self, cut: fx.Node) -> set[Tensor]:
        """Parameters and buffers used on both sides of the cut."""
        before = self.ancestors(cut)
        return self._state(before) & self._state(set(self.graph.nodes) - before)

    def trains_after(self, cut: fx.Node) -> bool:
        """Whether the back would hold a parameter."""
        state = self._state(set(self.graph.nodes) - self.ancestors(cut))
        return any(isinstance(value, nn.Parameter) for value in state)

    def _state(self, nodes: set[fx.Node]) -> set[Tensor]:
        return set().union(*(self.states[node] for node in nodes))


def possible_cuts(model: nn.Module) -> list[str]:
    """Names of the layers after which ``model`` can be cut, in the order in which they finish.

    Raises:
        ModelError: the network cannot be traced.
    """
    return _possible(_trace(model))


def code_of(model: nn.Module) -> str:
    """What it computes, as Python; errors as for :func:`possible_cuts`."""
    return str(_trace(model).graph.python_code("self").src)


def partition(model: nn.Module, layer: str, *, example: Tensor | None = None, checked: bool = True) -> Partition:
    """Cut ``model`` after ``layer``, and check on an example that front then back equals the whole, bit for bit.

    Args:
        model: any network of one input and one output; built on the meta device, only shapes can be checked.
        layer: a module's qualified name, such as ``block2`` or ``features.7``.
        example: an input batch for the check; by default two random 32x32 images with as many channels as the first
            convolution takes (a network without a convolution is then not run).
        checked: ``False`` leaves the check out, where the same network was or will be cut with it.

    Raises:
        ModelError: no such layer; a value other than the layer's output crosses the cut (a skip connection);
            a parameter is used on both sides; a layer called twice; nothing to train after it; or a network that
            cannot be traced. The message names the layers that would work.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"a network must be a torch.nn.Module, not {type(model).__name__}")
    names = [name for name, _ in model.named_modules() if name]
    if not isinstance(layer, str):
        raise ModelError(
            f"a layer must be named by text, such as '{names[0] if names else 'block1'}', not {type(layer).__name__}"
        )
    if layer not in names:
        blocks = [name for name in names if "." not in name]
        inside = f", and layers inside these such as {deep[0]}" if (deep := [n for n in names if "." in n]) else ""
        raise ModelError(
            f"the model has no layer '{layer}'{nearest(layer, names)}; it has {listed(blocks)}{inside} (model.cut)"
        )
    traced = _trace(model)
    cut = _cut_node(traced, layer)
    halves = Partition(front=_front(traced, cut), back=_back(traced, cut), layer=layer)
    _check_names(model, halves)
    if checked:
        _check_values(model, halves, example)
    _forget_constants(model)  # the halves have them
    return halves


def between(model: nn.Module, first: str, last: str) -> nn.Module:
    """The part of ``model`` after layer ``first``, up to layer ``last``; parameters are shared, nothing is copied.

    Raises:
        ModelError: it cannot be cut after one of them, or ``first`` does not come before ``last``.
    """
    traced = _trace(model)
    start, end = _cut_node(traced, first), _cut_node(traced, last)
    inside = traced.ancestors(end) - traced.ancestors(start)
    if not inside:
        raise ModelError(f"'{first}' does not come before '{last}'")
    graph = fx.Graph()
    copies = {start: graph.placeholder("activation")}
    for node in traced.graph.nodes:
        if node in inside:
            copies[node] = graph.node_copy(node, lambda old: copies[old])
    graph.output(copies[end])
    return _module(model, graph, "Middle")


def _trace(model: nn.Module) -> _Traced:
    if isinstance(model, _Part) and model.layer_nodes:
        nodes = {node.name: node for node in model.graph.nodes}
        outputs = {layer: [nodes.get(name) for name in names] for layer, names in model.layer_nodes.items()}
        return _Traced(model, model.graph, outputs)
    tracer = _Tracer()
    try:
        _forget_constants(model)
        graph = tracer.trace(model)
        other_mode = _trace_in(model, training=not model.training)
    except Exception as error:  # tracing runs the user's code, which may raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{type(model).__name__} cannot be cut: its forward pass cannot be traced ({reason}); "
            "write it without branches on values"
        ) from error
    if graph.python_code("self").src != other_mode.python_code("self").src:
        raise ModelError(
            f"{type(model).__name__} cannot be cut: its forward pass reads self.training; use layers such as nn.Dropout"
        )
    if sum(node.op == "placeholder" for node in graph.nodes) != 1:
        raise ModelError(f"{type(model).__name__} cannot be cut: it must take exactly one input")
    return _Traced(model, graph, tracer.outputs)


def _forget_constants(model: nn.Module) -> dict[str, Any]:
    """Tracing leaves the constants of a forward pass on the network; numbered anew, they would look like others."""
    constants = {name: value for name, value in vars(model).items() if name.startswith("_tensor_constant")}
    for name in constants:
        delattr(model, name)
    return constants


def _trace_in(model: nn.Module, *, training: bool) -> fx.Graph:
    """The graph in another mode; the network is left as it was."""
    modes = {module: module.training for module in model.modules()}
    constants = _forget_constants(model)
    try:
        return _Tracer().trace(model.train(training))
    finally:
        _forget_constants(model)
        vars(model).update(constants)
        for module, mode in modes.items():
            module.training = mode


def _possible(traced: _Traced) -> list[str]:
    return [name for name in traced.outputs if not _objection(traced, name)]


def _objection(traced: _Traced, layer: str) -> str:
    """Why the network cannot be cut after ``layer``; empty if it can."""
    nodes = traced.outputs.get(layer)
    if nodes is None:
        return "it is not called on its own"
    if len(nodes) > 1:
        return f"it is called {len(nodes)} times"
    cut = nodes[0]
    if cut is None:
        return "it returns more than one value"
    crossing = traced.crossing(cut) | {cut}
    values = [node for node in crossing if node.op != "get_attr"]
    if len(values) > 1:
        return f"{len(values)} values cross it (a skip connection)"
    if len(crossing) > 1 or traced.shared(cut):
        return "a parameter is used on both sides (a tied weight)"
    if not traced.trains_after(cut):
        return "nothing after it can be trained"
    return ""


def _cut_node(traced: _Traced, layer: str) -> fx.Node:
    objection = _objection(traced, layer)
    if objection:
        works = _possible(traced)
        advice = f"cut after one of: {', '.join(works)}" if works else "no other layer works either"
        raise ModelError(f"cannot cut after '{layer}': {objection}; {advice}")
    cut = traced.outputs[layer][0]
    assert cut is not None
    return cut


def _front(traced: _Traced, cut: fx.Node) -> nn.Module:
    keep, graph = traced.ancestors(cut), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        if node in keep or node.op == "placeholder":
            copies[node] = graph.node_copy(node, lambda old: copies[old])
    graph.output(copies[cut])
    return _module(traced.model, graph, "Front")


def _back(traced: _Traced, cut: fx.Node) -> nn.Module:
    drop, graph = traced.ancestors(cut), fx.Graph()
    activation = graph.placeholder("activation")
    copies = {cut: activation}
    for node in traced.graph.nodes:
        if node not in drop and node.op != "placeholder":
            copies[node] = graph.node_copy(node, lambda old: copies[old])
    back = _module(traced.model, graph, "Back")
    for user in list(activation.users):
        _leave_input(back, user)
    assert isinstance(back, fx.GraphModule)
    back.recompile()
    return back


def _leave_input(back: nn.Module, node: fx.Node) -> None:
    """Let what reads the activation not write into it: it may be used again, and may need a gradient."""
    if node.op == "call_module":
        module = back.get_submodule(str(node.target))
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    elif node.kwargs.get("inplace"):
        node.update_kwarg("inplace", False)
    elif node.op == "call_method" and str(node.target).endswith("_") and not str(node.target).endswith("__"):
        node.target = str(node.target).removesuffix("_")


class _Part(fx.GraphModule):
    """A part of a network, whose copies keep its hooks (its precision in training); those of torch.fx lose them."""

    layer_nodes: Mapping[str, list[str]] = {}
    """Of a network that was made as a graph (models/shortened.py): which nodes are which layer's outputs."""
    _HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_forward_hooks_always_called")

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        again: fx.GraphModule = super().__deepcopy__(memo)
        for kind in self._HOOKS:
            getattr(again, kind).update(getattr(self, kind))
        again.__dict__["layer_nodes"] = self.layer_nodes
        again.graph.owning_module = None  # in a circle it would keep its weights until garbage is collected
        return again


def _module(model: nn.Module, graph: fx.Graph, name: str) -> nn.Module:
    half: nn.Module = _Part(model, graph, name)
    return half.train(model.training)


def _check_names(model: nn.Module, halves: Partition) -> None:
    unused = model.state_dict().keys() - halves.front.state_dict().keys() - halves.back.state_dict().keys()
    if unused:
        raise ModelError(f"cannot cut {type(model).__name__}: {why_unused(model, unused)}")


def _check_values(model: nn.Module, halves: Partition, example: Tensor | None) -> None:
    if example is None:
        first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
        if first is None:
            return
        values = torch.linspace(-1, 1, 2 * first.in_channels * 32 * 32).view(2, first.in_channels, 32, 32)
        example = values.to(first.weight.device)
    whole = output_of(model, example)
    parts = output_of(halves.back, output_of(halves.front, example))
    same = whole.shape == parts.shape if whole.is_meta else torch.equal(whole.nan_to_num(), parts.nan_to_num())
    if not same:
        raise ModelError(f"cannot cut after '{halves.layer}': front then back does not equal the whole network")
