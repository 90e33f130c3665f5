"""Ctrl-C: the round that is under way is finished and saved; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SAID = "stopping after this round; press Ctrl-C again to stop at once and lose what is not saved yet"


def answers_ctrl_c() -> bool:
    """Whether Ctrl-C is ours to answer: in the main thread, and nobody else has a handler for it."""
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


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

    ours = answers_ctrl_c()
    if ours:
        signal.signal(signal.SIGINT, once)
    try:
        yield lambda: asked
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
