"""The streams that a command writes to: of any encoding, closed early, or full."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from ecofed.errors import Notice
from ecofed.errors.foreign_text import clean_lines


def take_any_text() -> None:
    """Have stdout and stderr write what their encoding lacks as ``\\xe4``, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """A line on stderr, fit to be shown. Where nobody can read it, that is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        print(clean_lines(text), file=sys.stderr, flush=True)


@contextlib.contextmanager
def notices_said() -> Iterator[None]:
    """Show every :class:`Notice` as a line on stderr, each once; other warnings go where they go."""
    with warnings.catch_warnings():
        others, said = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *rest: Any, **named: Any) -> None:
            if not issubclass(category, Notice):
                others(message, category, *rest, **named)
            elif str(message) not in said:
                said.add(str(message))
                say(f"note: {message}")

        warnings.simplefilter("always", Notice)
        warnings.showwarning = show
        yield


def delivered() -> bool:
    """Whether all that was printed on stdout has got out; what has not is told by :func:`lost`."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        lost(error)
        return False
    return True


def is_of_a_stream(error: OSError) -> bool:
    """Whether printing failed: files have names, and :mod:`ecofed.files.disk` tells them."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EBADF, errno.EFBIG)


def lost(error: OSError) -> None:
    """Say that output could not be written; not where the reader has left (``ecofed presets | head -1``), who knows."""
    with contextlib.suppress(OSError, ValueError):  # the interpreter flushes once more at its end: let that succeed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if error.errno != errno.EPIPE:
        say(f"error: standard output cannot be written ({error.strerror or error})")
