"""Optimisers take PyTorch's steps, and do not import its compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from ecofed.models.optimisers import SGD, AdamW

CASES: list[tuple[Any, Any, dict[str, float]]] = [
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (AdamW, torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
]


def trained(optimiser: Any, settings: dict[str, float]) -> tuple[torch.Tensor, dict[str, Any]]:
    """Weights after six steps, three of which come after the state was saved and loaded; and the state."""
    weights = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
    made = optimiser([weights], **settings)
    for step in range(6):
        if step == 3:
            saved = made.state_dict()
            made = optimiser([weights], **settings)
            made.load_state_dict(saved)
        made.zero_grad()
        (weights.pow(3).sum() + weights[0].sin().sum()).backward()  # type: ignore[no-untyped-call]
        made.step()
    return weights.detach(), made.state_dict()["state"][0]


@pytest.mark.ci
@pytest.mark.parametrize(("ours", "theirs", "settings"), CASES, ids=["SGD", "AdamW"])
def test_steps_are_pytorchs_to_the_last_bit(ours: Any, theirs: Any, settings: dict[str, float]) -> None:
    (weights, state), (expected, other) = trained(ours, settings), trained(theirs, settings)
    assert torch.equal(weights, expected)
    assert state.keys() == other.keys()
    assert all(torch.equal(torch.as_tensor(state[name]), torch.as_tensor(other[name])) for name in state)
    assert not torch.equal(weights, torch.linspace(-1, 1, 12).reshape(3, 4))


def test_steps_in_one_pass_over_memory_differ_by_rounding_at_most() -> None:
    settings = CASES[0][2]
    (weights, _), (expected, _) = trained(SGD, settings | {"fused": True}), trained(torch.optim.SGD, settings)
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.ci
def test_the_compiler_stays_where_it_is() -> None:
    code = """
import sys, torch
from ecofed.models.optimisers import SGD, AdamW
weights = torch.nn.Parameter(torch.ones(3))
for kind in (SGD, AdamW):
    made = kind([weights], lr=0.1)
    made.zero_grad()
    weights.sum().backward()
    made.step()
    made.load_state_dict(made.state_dict())
print(float(weights.sum()), "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    total, imported = done.stdout.split()
    assert float(total) < 3
    assert imported == "False"
