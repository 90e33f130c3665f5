"""ONNX without the onnx package: graphs written by hand, and run by ONNX Runtime. numpy only."""

from ecofed.onnx.device_bundle import DeviceBundle
from ecofed.onnx.front_graphs import front_to_onnx
from ecofed.onnx.graph import Graph
from ecofed.onnx.session import Session, require_runtime

__all__ = ["DeviceBundle", "Graph", "Session", "front_to_onnx", "require_runtime"]
