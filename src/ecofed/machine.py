"""What of this machine a run may use: processor cores, and memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: In the environment: how many processor cores a run may use; otherwise all that its process may.
CORES = "ECOFED_CORES"
#: In the environment, read when PyTorch is loaded: how often a thread looks for work before it sleeps.
_SPINS, _POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
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


def wait_briefly() -> None:
    """Have PyTorch's threads sleep soon where they wait for each other. Call it before PyTorch is loaded.

    By default they look 300,000 times first. Where another process has a core, most of two threads' time goes into
    that: two rounds of the preset ``photos`` took 159 s (80 s of processor time) beside one, and take 58 s (28 s). On
    idle cores it costs less than a tenth. What the user has set stays.
    """
    if _POLICY not in os.environ:
        os.environ.setdefault(_SPINS, "10000")
