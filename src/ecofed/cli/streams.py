"""The streams that a command writes to: of any encoding, closed early, or full."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TextIO

from ecofed.foreign_text import clean_lines


def take_any_text() -> None:
    """Have stdout and stderr write what their encoding lacks as ``\\xe4``, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line on stderr, fit to be shown. Where nobody can read it, that is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        print(clean_lines(text), file=sys.stderr, flush=True)


def delivered() -> bool:
    """Whether all that was printed on stdout has got out.

    If not, it is said on stderr; not where the reader has left (``ecofed presets | head -1``), who knows.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        if error.errno != errno.EPIPE:
            say(f"error: standard output cannot be written ({error.strerror or error})")
        return False
    return True


def _give_up(stream: TextIO) -> None:
    """The interpreter flushes once more when it ends: let that succeed."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
