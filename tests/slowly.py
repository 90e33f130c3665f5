"""Cases of a test of which only some run every time: ``make test-slow`` runs the others, too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def quick(cases: Iterable[Any], *every_time: Any) -> list[Any]:
    """All cases, those marked slow that are not among ``every_time``."""
    return [case if case in every_time else pytest.param(case, marks=pytest.mark.slow) for case in cases]
