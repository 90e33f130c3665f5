"""A run that learns from what an earlier one left: what the engine is given for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ecofed.config import Config
from ecofed.methods import Context, Method
from ecofed.results import RunResult
from ecofed.runs.preparation import Prepared


@dataclass(frozen=True, kw_only=True)
class Again:
    """See :mod:`ecofed.relearning`."""

    prepare: Callable[[Config, Callable[[str], None]], Prepared]
    """In place of :func:`ecofed.runs.preparation.prepare`."""
    method: Callable[[Context], Method]
    """Makes the method that trains."""
    origin: dict[str, Any]
    """For the result: what was learned from."""
    check: Callable[[], None] = lambda: None
    """Before anything that was trained is written as a result: raises where it may not have been learned from."""
    result: RunResult | None = None
    """Of the earlier run, for the report."""
    seen: Mapping[int, int] = field(default_factory=dict)
    """How many samples of each device it has: where devices are asked, they are asked for the others."""
