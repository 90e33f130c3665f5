"""When does what happen? Tasks that wait for each other and for resources, one task at a time on each resource."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple

SERVER = "server"


class Task(NamedTuple):
    """Something that keeps one resource busy."""

    resource: tuple[str, str]
    """Who, and which part of it: ``("3", "compute")``, ``("3", "uplink")``, ``("server", "compute")``."""
    seconds: float
    kind: str
    """What it is: ``infer``, ``train``, ``send``, ``receive``."""
    after: tuple[int, ...] = ()
    """Positions of the tasks that must be finished first; all before this one."""
    delay: float = 0.0
    """Seconds between its end and the start of what waits for it; the resource is free meanwhile (a link's latency)."""


class Span(NamedTuple):
    """A task that has its time."""

    actor: str
    kind: str
    start: float
    end: float


def schedule(tasks: Sequence[Task]) -> tuple[list[Span], float]:
    """Start every task as soon as it can: first ready, first served.

    Returns one span a task, and the time of the end.
    """
    waiting = [len(task.after) for task in tasks]
    followers: dict[int, list[int]] = {}
    for index, task in enumerate(tasks):
        for earlier in task.after:
            followers.setdefault(earlier, []).append(index)
    ready_at = [0.0] * len(tasks)
    heap = [(0.0, index) for index, count in enumerate(waiting) if count == 0]
    heapq.heapify(heap)
    free: dict[tuple[str, str], float] = {}
    spans: list[Span | None] = [None] * len(tasks)
    finish = 0.0
    while heap:
        ready, index = heapq.heappop(heap)
        task = tasks[index]
        start = free.get(task.resource, 0.0)
        if ready > start:
            start = ready
        end = start + task.seconds
        free[task.resource] = end
        spans[index] = Span(task.resource[0], task.kind, start, end)
        done = end + task.delay
        if done > finish:
            finish = done
        for follower in followers.get(index, ()):
            waiting[follower] -= 1
            if done > ready_at[follower]:
                ready_at[follower] = done
            if waiting[follower] == 0:
                heapq.heappush(heap, (ready_at[follower], follower))
    return [span for span in spans if span is not None], finish
