"""A few lies to each method and each kind of device, always the same; ``make fuzz`` tells many more."""

from __future__ import annotations

import importlib
import random

import pytest

import fuzz_peers


@pytest.mark.ci
@pytest.mark.parametrize("name", fuzz_peers.TARGETS)
def test_a_lie_costs_only_who_tells_it(name: str) -> None:
    importlib.import_module("torch._dynamo")  # PyTorch does at its first optimiser: no case pays for that
    target = fuzz_peers.TARGETS[name]()
    target(random.Random(0))
    cases = 40 if name.startswith("device") else 5
    endings = {fuzz_peers.one_case(name, target, case) for case in range(cases)}
    assert endings & {"left out", "refused"}
