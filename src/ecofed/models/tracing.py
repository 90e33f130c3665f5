"""Tracing a network while other threads run theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from torch import fx, nn

_ONE_AT_A_TIME = threading.Lock()


class ThreadTracer(fx.Tracer):
    """While PyTorch traces, it has replaced how modules are called, in every thread: others are let through here."""

    _thread = 0

    @property
    def elsewhere(self) -> bool:
        """Whether this is another thread than the one that traces."""
        return threading.get_ident() != self._thread

    def trace(self, root: Any, concrete_args: dict[str, Any] | None = None) -> fx.Graph:
        """As PyTorch's."""
        with _ONE_AT_A_TIME:
            self._thread = threading.get_ident()
            return super().trace(root, concrete_args)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """As PyTorch's."""
        return attr_val if self.elsewhere else super().getattr(attr, attr_val, parameter_proxy_cache)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As PyTorch's."""
        return forward(*args, **kwargs) if self.elsewhere else super().call_module(m, forward, args, kwargs)


def named_twice(model: nn.Module) -> str:
    """Of a layer that stands in two places of a network: what to do, as a graph has it by its first name only."""
    first = {layer: name for name, layer in model.named_modules()}
    for name, layer in model.named_modules(remove_duplicate=False):
        if name != first[layer]:
            return f"'{name}' is the layer '{first[layer]}' again; give each place a layer of its own"
    return ""


def why_unused(model: nn.Module, names: Iterable[str]) -> str:
    """Why parameters of a network are not in its graph."""
    return named_twice(model) or f"its forward pass never uses {', '.join(sorted(names))}"
