"""Files that are read: a named pipe, a socket or a device in a file's place is refused; it would be waited for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

# Without the last, opening a named pipe waits for somebody to write to it.
_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_IRREGULAR = "it is no regular file, and a pipe or a device would be waited for"


def opened(path: str | Path, *, buffering: int = -1) -> BinaryIO:
    """A regular file, open to be read.

    Raises:
        OSError: it cannot be, or is something else.
    """
    return open(path, "rb", buffering=buffering, opener=_regular)


def content_of(path: str | Path) -> bytes:
    """What a regular file holds; errors as for :func:`opened`."""
    with opened(path, buffering=0) as file:
        return file.read()


def check_regular(path: str | Path) -> None:
    """For a library that opens a file itself; errors as for :func:`opened`."""
    opened(path, buffering=0).close()


def _regular(path: str, _: int) -> int:
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise OSError(errno.EINVAL, _IRREGULAR, path) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # which 'open' refuses in its own words
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, _IRREGULAR, path)
