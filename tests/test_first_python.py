"""What is typed first in Python: a preset's name, one method, one setting, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

import ecofed
from ecofed.errors import ConfigError
from ecofed.results import Comparison

TINY = """
rounds = 1
devices = 2
sampled_devices = 2
test_samples = 20
initialisation = "random"
model.name = "lenet"
model.width = 0.25
data.name = "digits"
data.samples_per_device = 10
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.toml").write_text(TINY)
    return tmp_path / "tiny.toml"


def test_settings_may_be_a_name_or_a_file_wherever_they_are_taken(tiny: Path, tmp_path: Path) -> None:
    for source in (tiny, str(tiny)):
        assert ecofed.run(source, report=False).config["model"]["name"] == "lenet"
    found = ecofed.compare(tiny, "ecofed", out=tmp_path / "one")
    assert isinstance(found, Comparison)
    assert [result.method for result in found.results] == ["ecofed"]


def test_one_assignment_needs_no_list() -> None:
    assert ecofed.Settings.load("quickstart", "rounds=5") == ecofed.Settings.load("quickstart", ["rounds=5"])


def test_a_name_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither a preset nor a file \(did you mean 'quickstart'\?\)"):
        ecofed.run("quikstart")
    with pytest.raises(ConfigError, match="neither a preset nor a file"):
        ecofed.compare("quikstart", out=tmp_path)
