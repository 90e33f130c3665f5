"""A network whose back is a small new head on the cut's activation, instead of the rest of the network."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import fx, nn

from ecofed.models.outputs import activation_shape
from ecofed.models.partition import _cut_node, _Part, _trace, partition

#: Side of the blank picture that the activation's channels are counted on; every stride fits into it.
_SIDE = 64
#: Name of the new head in the network's state: no part of a network is called so.
HEAD = "small_head"


def shortened(model: nn.Module, cut: str, in_channels: int, classes: int) -> nn.Module:
    """``model`` up to layer ``cut`` and, after it, ``small_head``: a 3x3 convolution to twice as many channels,
    normalisation, ReLU, the mean of each channel, and a linear layer.

    Raises:
        ModelError: it cannot be cut there, or not into channels, height and width.
    """
    channels = activation_shape(partition(model, cut, checked=False).front, in_channels, _SIDE)[0]
    with torch.random.fork_rng(), next(model.parameters()).device:
        head = _head(channels, classes)
    model.add_module(HEAD, head)
    traced = _trace(model)
    end = _cut_node(traced, cut)
    before, graph = traced.ancestors(end), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in traced.graph.nodes:
        if node in before or node.op == "placeholder":
            copies[node] = graph.node_copy(node, lambda old: copies[old])
    value = copies[end]
    layers = {
        name: [copies[node].name if node in copies else "" for node in nodes if node is not None]
        for name, nodes in traced.outputs.items()
    }
    layers = {name: nodes for name, nodes in layers.items() if any(nodes)}
    for name, _ in head.named_children():
        value = graph.call_module(f"{HEAD}.{name}", (value,))
        layers[f"{HEAD}.{name}"] = [value.name]
    graph.output(value)
    short = _Part(model, graph, type(model).__name__)
    short.__dict__["layer_nodes"] = layers
    return short.train(model.training)


def _head(channels: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False),
            norm=nn.BatchNorm2d(2 * channels, track_running_stats=False),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(2 * channels, classes),
        )
    )
