"""``ecofed profile`` measures something, and what it writes is a profile."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ecofed.costs.profiles import load_device, load_server
from ecofed.errors import ConfigError
from ecofed.planning.measure import measure, to_toml


def test_a_measured_profile_survives_the_disk(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    machine = measure("here", threads=1, seconds=0.0)
    assert torch.get_num_threads() == threads
    assert 1e8 < machine.inference_flops_per_second < 1e14
    assert 1e8 < machine.training_flops_per_second < 1e14
    assert machine.memory_bytes > 10**8
    path = tmp_path / "here.toml"
    path.write_text(to_toml(machine))
    for load in (load_device, load_server):
        read = load(str(path))
        assert read.title == machine.title
        assert read.training_flops_per_second == pytest.approx(machine.training_flops_per_second, rel=1e-3)
        assert read.sample_overhead_seconds > 0


def test_no_cuda_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="sees no CUDA device"):
        measure("here", accelerator="cuda")
