"""What is configured: the schema and its sections, presets, keys, and the task that server and devices agree on."""

from ecofed.config.schema import Config
from ecofed.config.settings import Settings

__all__ = ["Config", "Settings"]
