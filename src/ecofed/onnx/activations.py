"""Activation functions as ONNX operators of set 13."""

from __future__ import annotations

import numpy as np

from ecofed.onnx.graph import Graph


def relu(graph: Graph, x: str) -> str:
    """Nothing below zero."""
    return graph.node("Relu", x)


def relu6(graph: Graph, x: str) -> str:
    """Nothing below zero, nothing above six."""
    return graph.node("Clip", x, *(graph.constant(np.array(limit, np.float32)) for limit in (0, 6)))


def sigmoid(graph: Graph, x: str) -> str:
    """1 / (1 + exp(-x))."""
    return graph.node("Sigmoid", x)


def hard_sigmoid(graph: Graph, x: str) -> str:
    """x / 6 + 1/2, within 0..1."""
    return graph.node("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def silu(graph: Graph, x: str) -> str:
    """x times its sigmoid."""
    return graph.node("Mul", x, sigmoid(graph, x))


def hard_swish(graph: Graph, x: str) -> str:
    """x times its hard sigmoid (an operator of its own only since set 14)."""
    return graph.node("Mul", x, hard_sigmoid(graph, x))
