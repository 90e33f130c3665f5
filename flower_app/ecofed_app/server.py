"""The server's side."""

from ecofed.flower.server import app

__all__ = ["app"]
