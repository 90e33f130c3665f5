"""The commands of Flower that services, containers and instructions call exist, and know the options given."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ecofed.fleet.folder import Plan, make_fleet
from ecofed.fleet.versions import PIN, untested

COMMANDS = ("flower-superlink", "flower-supernode", "flwr run", "flwr supernode register")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_knows_the_options_it_is_given(command: str, tmp_path: Path) -> None:
    make_fleet(tmp_path, Plan(hosts=("localhost",), devices=1))
    files = ("README.md", "containers/Containerfile", "devices/device-0.service", "server/ecofed-superlink.service")
    texts = [re.sub(r'\\\n|[",]', " ", (tmp_path / name).read_text(encoding="utf-8")) for name in files]
    lines = [line.partition(command)[2] for text in texts for line in text.splitlines() if f"{command} " in line]
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", " ".join(lines)))
    assert lines
    words = [str(Path(sys.executable).parent / command.split()[0]), *command.split()[1:], "--help"]
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=300, env={"COLUMNS": "200"}).stdout
    assert sorted(option for option in options if option not in told) == []


def test_the_versions_that_are_tested_are_those_that_pip_is_told() -> None:
    root = Path(__file__).parents[2]
    assert f'flower = ["{PIN}"]' in (root / "pyproject.toml").read_text(encoding="utf-8")
    assert untested(metadata.version("flwr")) is None
    assert "flwr==1.41.0" in (root / "constraints-flower.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("version", "why"), [("1.43.0", "HTTP only"), ("2.0", "HTTP only"), ("1.40.0", "older than 1.41")]
)
def test_another_version_is_one_line(version: str, why: str) -> None:
    assert untested("1.41.0") is untested("1.42.3") is None
    line = untested(version)
    assert line is not None
    assert why in line
    assert line.startswith(f"Flower {version} is not tested")
    assert line.endswith(f"pip install '{PIN}'")
