"""A device's side."""

from ecofed.flower.device import app

__all__ = ["app"]
