"""What of this machine a run may use: processor cores, and memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: In the environment: how many processor cores a run may use; otherwise all that its process may.
CORES = "ECOFED_CORES"
_MEMORY = Path("/proc/meminfo")


def cores() -> int:
    """How many processor cores this run may use, at least one."""
    asked = os.environ.get(CORES, "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return found or 1


def free_bytes() -> int | None:
    """Memory that can still be taken; ``None`` where the system does not say."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return 1024 * int(_MEMORY.read_text(encoding="ascii").split("MemAvailable:")[1].split()[0])
    return None
