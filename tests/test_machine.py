"""What a command asks of the machine before it begins."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from ecofed.cli import main
sys.argv = ["ecofed", "--version"]
try:
    main()
except SystemExit:
    pass
print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("own", "then"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
    ids=["nothing set", "spins set", "policy set"],
)
def test_threads_that_wait_sleep_soon_unless_the_user_has_said_otherwise(own: dict[str, str], then: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment | own, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == f"False {then}", "before PyTorch is loaded, which reads it once"
