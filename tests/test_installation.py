"""The command that a missing part is answered with, for every way in which ecofed can have been installed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from ecofed.errors import MissingExtraError
from ecofed.errors.installation import Installation, install_command

REQUIREMENTS = (
    "numpy>=1.26",
    "pandas>=2.1; extra == 'pandas'",
    "scikit-learn>=1.4; extra == 'digits'",
    "ecofed[train,pandas]; extra == 'dev'",
    'torch>=2.4; extra == "train"',
    "pyarrow>=15; (python_version < '4') and extra == 'train'",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and an active environment in ``env`` with a pip of its own."""
    (tmp_path / "env" / "bin").mkdir(parents=True)
    pip = tmp_path / "env" / "bin" / "pip"
    pip.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(pip.parent))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return tmp_path


def installed(home: Path, **values: Any) -> Installation:
    package = home / "env" / "lib" / "site-packages" / "ecofed"
    return Installation(**{"prefix": home / "env", "package": package, "requirements": REQUIREMENTS} | values)


def checkout(home: Path, name: str) -> Path:
    (home / name / "src" / "ecofed").mkdir(parents=True)
    (home / name / "pyproject.toml").touch()
    return home / name / "src" / "ecofed"


def test_from_an_index(home: Path) -> None:
    assert installed(home).command("train") == "pip install 'ecofed[train]'"


def test_a_checkout(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = checkout(home, "code")
    editable = {"url": (home / "code").as_uri(), "dir_info": {"editable": True}}
    assert installed(home, package=package, direct_url=editable).command("train") == "pip install -e 'code[train]'"
    assert installed(home, package=package).command("train") == "pip install -e 'code[train]'"  # by PYTHONPATH alone
    monkeypatch.chdir(home / "code")
    assert installed(home, package=package).command("digits") == "pip install -e '.[digits]'"
    monkeypatch.chdir(home / "env")
    assert installed(home, package=package).command("digits") == f"pip install -e '{home / 'code'}[digits]'"


def test_a_folder_that_was_copied_and_one_that_is_gone(home: Path) -> None:
    checkout(home, "a copy")
    there = {"url": (home / "a copy").as_uri(), "dir_info": {}}
    assert installed(home, direct_url=there).command("train") == "pip install 'a copy[train]'"
    gone = {"url": (home / "gone").as_uri(), "dir_info": {}}
    assert installed(home, direct_url=gone).command("train") == "pip install 'torch>=2.4' 'pyarrow>=15'"


def test_a_wheel(home: Path) -> None:
    wheel = home / "ecofed-0.1.0-py3-none-any.whl"
    url = {"url": wheel.as_uri(), "archive_info": {}}
    assert installed(home, direct_url=url).command("pandas") == "pip install 'pandas>=2.1'"
    wheel.touch()
    assert installed(home, direct_url=url).command("pandas") == f"pip install './{wheel.name}[pandas]'"
    web = {"url": f"https://example.org/{wheel.name}", "archive_info": {}}
    expected = f"pip install 'ecofed[pandas] @ https://example.org/{wheel.name}'"
    assert installed(home, direct_url=web).command("pandas") == expected


def test_a_repository(home: Path) -> None:
    url = {"url": "https://example.org/ecofed.git", "vcs_info": {"vcs": "git", "commit_id": "1f2e"}}
    expected = "pip install 'ecofed[train] @ git+https://example.org/ecofed.git@1f2e'"
    assert installed(home, direct_url=url).command("train") == expected


def test_tools_that_keep_an_environment_for_each_program(home: Path) -> None:
    (home / "env" / "pipx_metadata.json").touch()
    assert installed(home).command("train") == "pipx inject ecofed 'torch>=2.4' 'pyarrow>=15'"
    (home / "env" / "pipx_metadata.json").rename(home / "env" / "uv-receipt.toml")
    assert installed(home).command("train") == "uv tool install --force 'ecofed[train]'"
    package = checkout(home, "code")
    assert installed(home, package=package).command("train") == "uv tool install --force --editable 'code[train]'"


def test_uv_without_pip(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = f"uv pip install --python {home / 'env'} 'ecofed[digits]'"
    assert installed(home, installer="uv").command("digits") == expected
    monkeypatch.setenv("VIRTUAL_ENV", str(home / "env"))
    assert installed(home, installer="uv").command("digits") == "uv pip install 'ecofed[digits]'"


def test_an_environment_that_is_not_activated_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert installed(home).command("train") == "env/bin/pip install 'ecofed[train]'"
    (home / "env" / "bin" / "pip").unlink()
    assert installed(home).command("train") == f"{shlex.quote(sys.executable)} -m pip install 'ecofed[train]'"


@pytest.mark.parametrize("url", [{}, [], {"url": 3}, {"url": "file:///nowhere", "vcs_info": 1}], ids=str)
def test_metadata_that_says_nothing_of_use_is_no_reason_to_fail(home: Path, url: object) -> None:
    assert installed(home, direct_url=url).command("digits").startswith("pip install '")


def test_the_error_names_the_command_for_this_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[1]
    monkeypatch.chdir(root)
    assert str(MissingExtraError("pandas", "pandas", "to_pandas()")).endswith(" install -e '.[pandas]'")
    assert install_command("train").endswith(" install -e '.[train]'")
