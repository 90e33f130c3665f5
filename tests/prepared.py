"""Runs that are ready to start. Tests start many of the same: each is prepared once."""

from __future__ import annotations

import copy
import dataclasses
from functools import lru_cache

import torch

from ecofed.config import Config
from ecofed.config.registry import forget_when_new
from ecofed.runs.preparation import Prepared, prepare


@forget_when_new
@lru_cache(maxsize=16)
def _once(config: Config) -> Prepared:
    return prepare(config, lambda _: None)


def prepared_for(config: Config) -> Prepared:
    """With networks of its own, which methods train; the rest is shared, and nobody writes to it."""
    once = _once(config)
    torch.set_num_threads(config.threads)
    model, halves = copy.deepcopy((once.model, once.halves))
    return dataclasses.replace(once, model=model, halves=halves)
