"""The ``ecofed`` command: one file a command, added to the list in :mod:`ecofed.cli.app`.

Nothing here imports PyTorch before a command needs it, so ``ecofed --help`` is instant.
"""

from ecofed.cli.app import main

__all__ = ["main"]
