"""Ctrl-C: the round that is under way is finished and saved; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SAID = "stopping after this round; press Ctrl-C again to stop at once and lose what is not saved yet"


@contextmanager
def deferred(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Inside, the first Ctrl-C only makes the function that this yields return true, and is answered with ``say``.

    Between rounds everything can be saved, in the middle of one nothing can. Whoever has a handler of their own for
    SIGINT keeps it, and so does every thread but the main one.
    """
    asked = False

    def once(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say(SAID)

    ours = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, once)
    try:
        yield lambda: asked
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
