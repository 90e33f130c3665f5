"""What is known of each thing that a plug-in registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ecofed.config.registry.sources import Origin


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A method of a plug-in."""

    cls: Any
    """A subclass of :class:`ecofed.methods.Method`, and so its own :class:`ecofed.config.facts.Facts`."""
    settings: type
    """Its section of the configuration."""
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class NetworkEntry:
    """A network of a plug-in."""

    build: Callable[..., Any]
    cut: str
    image_size: int | None
    """Side of the pictures that it takes unless told otherwise; ``None``: 32x32 only, as the paper's networks."""
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class CodecEntry:
    """A codec of a plug-in."""

    cls: Any
    """A subclass of :class:`ecofed.activations.Codec`, and so its own :class:`ecofed.config.facts.CodecFacts`."""
    origin: Origin


@dataclass(frozen=True, kw_only=True)
class FormatEntry:
    """A data format of a plug-in."""

    cls: Any
    """Has what :func:`register_format` says."""
    origin: Origin


Entry = MethodEntry | NetworkEntry | CodecEntry | FormatEntry
