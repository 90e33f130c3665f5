"""Which runs a sweep of bytes against accuracy consists of; told before PyTorch is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecofed.config import Config, Settings
from ecofed.config.methods import OURS
from ecofed.runs.without_effect import Asked, without_effect_on

#: The baseline that is no other method, but the paper's choices for ours.
PAPER_BASELINE = "paper"
#: The paper's own choices, on the same network and data.
PAPER: Mapping[str, Any] = {
    "codec.name": "minmax",
    "codec.bits": 8,
    "ecofed.period": 2,
    "ecofed.refresh": "period",
    "ecofed.views": 0,
    "codec.entropy": "none",
    "front.name": "auto",
    "front.precision": "full",
    "ecofed.server": "fedavg",
    "ecofed.fresh_momentum": True,
    "normalisation": "batch",
    "aggregation": "equal",
}
#: What decides the keys that are swept.
_OPTIONS = {"codec.bits": "--bits", "front.name": "--fronts", "ecofed.views": "--views", "ecofed.refresh": "--views"}


@dataclass(frozen=True)
class Planned(Asked):
    """One run of a sweep, and what it is called."""

    label: str = ""
    front: str | None = None
    """Of a point; ``None``: it is a baseline."""


def planned(
    settings: Settings, *, bits: Sequence[int], views: Sequence[int], fronts: Sequence[str], baselines: Sequence[str]
) -> list[Planned]:
    """Every combination, then the baselines. What is swept counts more than what the settings say of it, be it for all
    methods or for ours alone.

    Raises:
        ConfigError: one of them is impossible.
    """
    own = settings.for_method(OURS)
    runs = []
    for front in fronts:
        for count in bits:
            for view in views:
                lives = {"ecofed.views": view, "ecofed.refresh": _refresh(view)}
                swept = {"front.name": front, "codec.bits": count, **lives}
                label = f"ecofed front={_short(front, fronts)} bits={count} views={view or 'unbounded'}"
                runs.append(Planned(_changed(own, swept), _OPTIONS, label, front))
    said = dict.fromkeys(PAPER, f"the baseline '{PAPER_BASELINE}'")
    for name in baselines:
        if name == PAPER_BASELINE:
            runs.append(Planned(_changed(own, PAPER), said, name))
        else:
            runs.append(Planned(settings.for_method(name), {}, name))
    return runs


def without_effect_in(settings: Settings, runs: Sequence[Planned]) -> list[str]:
    """A line for each ``--set`` that changes nothing in any run of a sweep."""
    return without_effect_on(settings, runs, chosen=f"a sweep is of {OURS}, and --baselines says what stands beside it")


def _changed(config: Config, changes: Mapping[str, Any]) -> Config:
    return config.replace(**{key.replace(".", "__"): value for key, value in changes.items()})


def _refresh(views: int) -> str:
    return {0: "period", 1: "once"}.get(views, "spread")


def _short(front: str, fronts: Sequence[str]) -> str:
    """A front's name for labels and folders: without its path, unless another's is the same."""
    stem = Path(front).stem
    return stem if sum(Path(other).stem == stem for other in fronts) == 1 else front
