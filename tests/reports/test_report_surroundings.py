"""Plots look the same, and come about at all, whatever a user has set for matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from ecofed.reports.files import write_result
from ecofed.reports.plots import draw_plots
from ecofed.results import RunResult

Make = Callable[..., RunResult]

DRAW = """
import sys
from hashlib import sha256
from pathlib import Path
from ecofed.reports.files import read_result
from ecofed.reports.plots import draw_plots
from ecofed.reports.plots.frontier import write_frontier_plot
for plot in draw_plots(read_result(sys.argv[1])):
    print(plot.name, sha256(plot.png + plot.svg.encode()).hexdigest())
write_frontier_plot([], [("raw", 10.0)], Path("frontier.png"))
import matplotlib, os
assert os.environ.get("MPLBACKEND") != "TkAgg" or matplotlib.rcParams["font.size"] == 40
print({name: os.environ.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")}, file=sys.stderr)
"""
UGLY = "axes.facecolor: red\nfont.size: 40\nsavefig.dpi: 7\nfigure.dpi: 3\ntext.usetex: True\nsvg.fonttype: path\n"


@pytest.fixture(scope="module")
def result(make: Make) -> RunResult:
    return make(rounds=3, classes=["$\\frac{1}{", "猫"])


@pytest.fixture(scope="module")
def expected(result: RunResult) -> str:
    """What is drawn here, without any settings."""
    plots = draw_plots(result)
    assert len(plots) > 2
    return "".join(f"{plot.name} {sha256(plot.png + plot.svg.encode()).hexdigest()}\n" for plot in plots)


@pytest.mark.parametrize(
    ("settings", "rc"),
    [
        # A notebook's, whose package is not here.
        pytest.param({"MPLBACKEND": "module://matplotlib_inline.backend_inline"}, b"", marks=pytest.mark.slow),
        ({"MPLBACKEND": "TkAgg", "DISPLAY": ""}, UGLY.encode()),
        pytest.param({"MPLBACKEND": "nonsense"}, b"\xff\xfe no text at all", marks=pytest.mark.slow),
        pytest.param(
            {"MPLCONFIGDIR": "/proc/nowhere", "HOME": "/proc/nowhere"},
            b"backend: nonsense\nno such line\n",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["a notebook", "ugly", "undecodable", "nowhere to write"],
)
def test_the_users_settings_change_nothing(
    settings: dict[str, str], rc: bytes, result: RunResult, expected: str, tmp_path: Path
) -> None:
    write_result(result, tmp_path)
    (tmp_path / "settings").mkdir()
    if rc:
        (tmp_path / "settings" / "matplotlibrc").write_bytes(rc)
        settings = settings | {"MATPLOTLIBRC": str(tmp_path / "settings")}
    command = [sys.executable, "-c", DRAW, str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | settings, cwd=tmp_path, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected
    # What the process had is what it has: the user's own plots are theirs.
    assert done.stderr.splitlines()[-1] == str({name: settings.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")})
