"""Networks without values."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from ecofed.models.blank import blank


def test_a_blank_network_computes_with_memory_of_its_own() -> None:
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).requires_grad_(False)
    copied = blank(network)
    assert network[0].weight.is_meta
    assert {name: value.shape for name, value in copied.state_dict().items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }
    assert not any(value.requires_grad or value.is_meta for value in copied.parameters())
    assert copied[1].num_batches_tracked.dtype == torch.int64
    assert copied(torch.zeros(2, 1, 4, 4)).shape == (2, 2, 2, 2)


def test_shared_weights_stay_shared() -> None:
    one = nn.Linear(3, 3)
    copied = blank(nn.Sequential(one, one))
    assert copied[0].weight is copied[1].weight
    assert copied[0].weight is not one.weight


@pytest.mark.ci
def test_a_plan_loads_no_computer_algebra() -> None:
    """SymPy and PyTorch's symbolic shapes took a tenth of its time."""
    script = """
import sys
sys.argv = ["ecofed", "plan", "quickstart", "--set", "data.name=digits"]
from ecofed.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", "sympy" in sys.modules, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "loaded: False True", done.stdout + done.stderr
