"""What does not depend on each other, in several threads: PyTorch computes outside of Python's lock.

Every thread computes with the configured number of PyTorch's own, and results come in the order of the work: they are
those of one after the other, bit for bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """``work`` of each item, ``at_once`` at a time; ``items`` is drawn on so far ahead of the results.

    What a piece of work raises is raised in its place; what has begun by then is waited for, and the rest is left.
    """
    if at_once == 1:
        yield from map(work, items)
        return
    pool, waiting = _pool(at_once, torch.get_num_threads()), deque[Future[R]]()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()
        wait(waiting)


@lru_cache(maxsize=4)
def _pool(at_once: int, threads: int) -> ThreadPoolExecutor:
    # A thread knows nothing of how many threads another one has asked PyTorch for.
    return ThreadPoolExecutor(at_once, "ecofed-at-once", torch.set_num_threads, (threads,))
