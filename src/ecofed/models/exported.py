"""A whole network as one ONNX file: front, codec there and back, back, and how a picture becomes its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from ecofed.config.network_input import NetworkInput
from ecofed.models.partition import Partition
from ecofed.models.to_onnx import add_network
from ecofed.onnx.graph import Graph, metadata_text


class Coding(Protocol):
    """What is done to an activation on its way."""

    def to_onnx(self, graph: Graph, activation: str) -> str:
        """Append it to the graph; returns the name of the new value."""

    def scales_of(self, samples: int, batch_size: int) -> int:
        """How many scales so many activations have, where a batch has one of its own."""


def network_file(
    halves: Partition,
    coding: Callable[[tuple[int, int, int]], Coding] | None,
    how: NetworkInput,
    *,
    classes: Sequence[str],
    normalisation: str,
    int8: bool = False,
) -> bytes:
    """The file, whose length does not depend on any weight.

    Args:
        halves: of the network, in evaluation mode.
        coding: the codec for activations of a shape (C, H, W); ``None``: they arrive as they are.
        how: pictures become its input.
        classes: names, in the network's order.
        normalisation: the configuration's word.
        int8: 8 bits a weight, with a scale an output channel.

    Raises:
        ModelError: a layer that has no counterpart in ONNX.
    """
    graph = Graph((how.in_channels, how.input_size, how.input_size), int8=int8)
    name, example = add_network(graph, halves.front, (graph.input, torch.zeros(2, *graph.input_shape)))
    description = {"classes": list(classes), "normalisation": normalisation, **how.described()}
    if coding is not None:  # so that the back sees what it was trained on
        codec = coding((example.shape[1], example.shape[2], example.shape[3]))
        name = codec.to_onnx(graph, name)
        if codec.scales_of(1, 1):
            description["scaled_by_batch"] = True
    name, example = add_network(graph, halves.back, (name, example))
    return graph.encode(name, tuple(example.shape[1:]), metadata_text(description))
