"""The coverage-guided fuzzer of ``make fuzz``, for a few seconds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheel for this machine")
def test_nothing_but_clean_refusals(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("guided.py")), "--seconds", "3"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    (runs,) = re.findall(r"Done (\d+) runs", done.stderr)
    assert int(runs) > 500
