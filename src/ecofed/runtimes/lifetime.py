"""A process that ends when the one that started it does: ``python lifetime.py PARENT COMMAND...``.

A process that is stopped (SIGSTOP, a debugger, a frozen container) cannot notice by itself that its parent is gone. On
Linux the kernel ends it. The bond survives ``exec``, so this program only makes it and becomes the command: from the
first moment on; as a script of its own it imports nothing of ecofed first.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, where it can (Linux).

    ``parent``: its process id; if that is not our parent (any more), this process ends now.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def own_python() -> list[str]:
    """The interpreter for other processes of ours: it looks for modules in the current folder only if this one does.

    There may lie a ``random.py`` of the user's.
    """
    here = "" in sys.path or os.getcwd() in sys.path
    return [sys.executable] if here else [sys.executable, "-P"]


def main() -> None:
    """Become the command."""
    end_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
