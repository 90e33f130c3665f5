"""A small device has little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from front_builders import front_bundle

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "device.py"


@pytest.mark.ci
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process's memory is read from /proc")
def test_an_upload_of_500_images_with_the_front_of_vgg11_fits_150_megabytes(tmp_path: Path) -> None:
    front_bundle("vgg11", "block2", 1.0, "frozen").save(tmp_path / "front")
    command = [sys.executable, str(BENCHMARK), "--child", "onnx", str(tmp_path / "front"), "--images", "500"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["megabytes"] <= 150
