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
_OWN_PAGES = Path("/proc/self/statm")


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


class Heap:
    """Gives memory back that is free, but lies in pieces between what stays, before it adds up over rounds.

    Simulated devices leave small tensors behind among their activations of hundreds of megabytes, and glibc looks for
    room elsewhere. What rounds need anyway stays, since asking for it anew takes time.
    """

    ROOM_BYTES = 256 << 20
    """More than after the second round."""

    def __init__(self) -> None:
        import ctypes  # only runs need it, and every command loads this module

        self._rounds = 0
        self._usual_bytes = 0
        trim = None
        with contextlib.suppress(OSError, TypeError):  # a system without the one or the other
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._trim = trim

    def round_finished(self) -> bool:
        """Whether memory was given back."""
        self._rounds += 1
        held = _resident_bytes()
        if self._trim is None or held is None:
            return False
        if self._rounds <= 2:
            self._usual_bytes = held
            return False
        if held <= self._usual_bytes + self.ROOM_BYTES:
            return False
        self._trim(0)
        self._usual_bytes = max(self._usual_bytes, _resident_bytes() or 0)
        return True


def _resident_bytes() -> int | None:
    """Of this process, without files that are mapped; ``None`` where the system does not say."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        resident, shared = map(int, _OWN_PAGES.read_text(encoding="ascii").split()[1:3])
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")
    return None
