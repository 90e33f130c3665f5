"""The ``ecofed`` command: one file a command, and the list of them in :mod:`ecofed.cli.commands`.

A command is imported when it is called, and PyTorch when it is needed, so ``ecofed --help`` is instant.
"""

from ecofed.cli.app import main

__all__ = ["main"]
