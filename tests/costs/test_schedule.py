"""Tasks, resources and who waits for whom."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.costs.schedule import Task, schedule


def test_tasks_of_one_resource_follow_each_other_and_others_run_beside_them() -> None:
    tasks = [
        Task(("0", "compute"), 2.0, "train"),
        Task(("0", "compute"), 1.0, "train"),
        Task(("1", "compute"), 2.5, "train"),
    ]
    spans, end = schedule(tasks)
    assert [(span.start, span.end) for span in spans] == [(0, 2), (2, 3), (0, 2.5)]
    assert end == 3


def test_a_delay_holds_up_what_waits_but_not_the_resource() -> None:
    tasks = [
        Task(("0", "uplink"), 1.0, "send", delay=0.5),
        Task(("0", "uplink"), 1.0, "send", delay=0.5),
        Task(("server", "compute"), 1.0, "train", after=(0,)),
    ]
    spans, end = schedule(tasks)
    assert [span.start for span in spans] == [0, 1, 1.5]
    assert end == 2.5


def test_first_ready_is_first_served() -> None:
    tasks = [
        Task(("0", "uplink"), 3.0, "send"),
        Task(("1", "uplink"), 1.0, "send"),
        Task(("server", "compute"), 5.0, "train", after=(0,)),
        Task(("server", "compute"), 5.0, "train", after=(1,)),
    ]
    spans, end = schedule(tasks)
    assert (spans[3].start, spans[2].start, end) == (1, 6, 11)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.floats(0, 10), st.lists(st.integers(0, 30), max_size=3), st.floats(0, 1)),
        max_size=30,
    )
)
def test_nothing_overlaps_and_nothing_starts_too_early(drawn: list[tuple[int, float, list[int], float]]) -> None:
    tasks = [
        Task((str(who), "compute"), seconds, "train", tuple({at for at in after if at < index}), delay)
        for index, (who, seconds, after, delay) in enumerate(drawn)
    ]
    spans, end = schedule(tasks)
    assert len(spans) == len(tasks)
    for task, span in zip(tasks, spans, strict=True):
        assert span.end - span.start == pytest.approx(task.seconds)
        assert all(span.start >= spans[at].end + tasks[at].delay - 1e-9 for at in task.after)
    for who in {span.actor for span in spans}:
        own = sorted((span.start, span.end) for span in spans if span.actor == who)
        assert all(later[0] >= earlier[1] - 1e-9 for earlier, later in pairwise(own))
    assert end == pytest.approx(
        max((span.end + task.delay for task, span in zip(tasks, spans, strict=True)), default=0)
    )
