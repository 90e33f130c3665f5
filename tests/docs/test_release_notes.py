"""The notes of a release are what the changelog says of its version, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_reference import script

import ecofed

ROOT = Path(__file__).parents[2]
NOTES = script(ROOT / "docs" / "release_notes.py")
CHANGELOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- b

## [0.1.0] - 2026-01-01

- a
"""


def test_only_that_version_is_told() -> None:
    assert NOTES.notes(CHANGELOG, "0.2.0") == "### Added\n\n- b"
    assert NOTES.notes(CHANGELOG, "0.1.0") == "- a"


@pytest.mark.parametrize("version", ["0.3.0", "Unreleased"])
def test_a_version_of_which_nothing_is_said_is_an_error(version: str) -> None:
    with pytest.raises(LookupError, match="says nothing of"):
        NOTES.notes(CHANGELOG, version)


def test_the_version_and_the_projects_own_changelog_are_understood() -> None:
    assert NOTES.version() == ecofed.__version__
    assert "### Added" in NOTES.notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), "Unreleased")
