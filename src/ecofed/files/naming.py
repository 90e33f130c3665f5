"""Paths that callers name in Python: what no file system takes is one line, before anything is done."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ecofed.errors import ConfigError


def path_named(value: object, what: str) -> Path:
    """A path from text or a path.

    Args:
        value: what a caller gave.
        what: the argument's name, for the error.

    Raises:
        ConfigError: it is neither, or no path that could be: empty, of too long a name, with a zero character.
    """
    if not isinstance(value, str | Path):
        raise ConfigError(f"{what}: must be a path, as text or pathlib.Path, not {type(value).__name__}")
    if not str(value).strip():
        raise ConfigError(f"{what}: is empty; name a file or a folder ('.' is the current folder)")
    try:
        os.stat(value)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigError(f"{what}: no file has a name as long as '{str(value)[:60]}...'") from None
    except ValueError:
        raise ConfigError(f"{what}: {str(value)[:60]!r} cannot be the name of a file") from None
    return Path(value)
