"""Ctrl-C: a long command ends with the exact line that continues it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ecofed.errors import EcoFedError

#: Folders that this command has made for its results.
MADE: set[Path] = set()


class Interrupted(Exception):  # noqa: N818  it is not an error
    """The user stopped a command that can be continued; the message says how."""


def command_line(*extra: str) -> str:
    """This process's command as a user would type it, followed by those words of ``extra`` that it lacks."""
    words = [word for word in sys.argv[1:] if word != "--debug"]
    return shlex.join(["ecofed", *words, *(word for word in extra if word not in words)])


@contextmanager
def resumable(out: Path) -> Iterator[None]:
    """Turn Ctrl-C into :class:`Interrupted`, whose message is the command that continues what is in ``out``.

    Where an error ends the command before anything was written, a folder that was made for it goes again.
    """
    try:
        yield
    except EcoFedError:
        if out.absolute() in MADE:
            with suppress(OSError):
                out.rmdir()
        raise
    except KeyboardInterrupt:
        again = command_line("--resume")
        kept = f"what is in {out} is kept" if out.exists() else "nothing has been written yet"
        raise Interrupted(f"stopped; {kept}, continue with: {again}") from None
