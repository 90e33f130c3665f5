"""``make bench`` runs, and says what it measured: at a size at which the figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: What a bench takes is half a minute, however small.
pytestmark = pytest.mark.ci
BENCH = Path(__file__).parents[1] / "benchmarks" / "bench.py"


def test_every_part_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(BENCH), "--small", "--json", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert figures["schema"] == "ecofed-bench/1"
    names = ["plain loop: classic-fl", "ecofed, bfloat16 and batches of 200"]
    assert [row["name"] for row in figures["methods"]] == names
    assert all(name in done.stdout for name in names)
    assert (figures["methods"][0]["ratio"], figures["server"][0]["ratio"]) == (1, 1)
    rates = ("samples_per_processor_second", "ratio", "samples_per_second", "ratio_of_time")
    assert min(row[key] for row in figures["methods"] for key in rates) > 0
    assert min(row["peak_bytes"] for row in figures["methods"]) > 50e6  # PyTorch alone takes more
    assert [row["name"] for row in figures["codecs"]] == [f"uniform, {bits} bits" for bits in (8, 4, 2)]
    assert min(value for row in figures["codecs"] for key, value in row.items() if key != "name") > 0
    assert min(row["images_per_second"] for row in figures["front"]) > 0
    assert {row["name"] for row in figures["buffer"]} == {"memory", "disk"}
    assert all("aten::convolution_backward" in row for row in figures["profile"])


def test_a_framework_that_is_not_there_is_said_with_its_command() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--small", "--with", "no-such-framework"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no-such-framework: needs an environment of its own: python3 -m venv .bench/no-such-framework" in done.stderr
