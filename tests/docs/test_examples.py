"""Every example of the README and the documentation runs.

``sh`` and ``python`` blocks of a page (``doc_blocks``) run from top to bottom in one empty folder, ``python`` blocks in
one namespace. The presets ``quickstart`` and ``photos`` are replaced by tiny ones, so that the pages can show what a
user would type.
"""

from __future__ import annotations

import importlib.abc
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from doc_blocks import Block, blocks
from ecofed.cli import main
from ecofed.config import registry
from ecofed.config import settings as config
from ecofed.config.presets import read_toml
from ecofed.runs import experiment

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

TINY: dict[str, Any] = {
    "rounds": 2,
    "devices": 4,
    "sampled_devices": 2,
    "batch_size": 10,
    "test_samples": 50,
    "initialisation": "random",
    "model": {"name": "lenet", "width": 0.5},
    "data": {"name": "digits", "samples_per_device": 20},
}


def small(source: Any) -> dict[str, Any]:
    """What a page's commands read instead of a preset."""
    if source == "quickstart":
        return TINY
    values = read_toml(source)
    if source == "photos":
        less = {"rounds": 1, "devices": 3, "sampled_devices": 3, "threads": 1}
        return values | less | {"model": {"name": "lenet", "image_size": 32}}
    return values


def run_here(page: Path) -> list[Block]:
    """What a page's author has not left out."""
    return [block for block in blocks(page) if not block.left_out]


def a_page(_: object, folder: Path) -> None:
    """Instead of a report: what is known for one."""
    Path(folder, "report.html").write_text("<p class='kicker'>EcoFed report", encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=() if p == README else pytest.mark.ci) for p in PAGES if any(run_here(p))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "read_toml", small)
    # Drawing takes most of the time, and tests/reports does it.
    monkeypatch.setattr(experiment, "write_report", a_page)
    Path("examples").symlink_to(ROOT / "examples")
    with registry.only_here():
        _run_blocks(page, monkeypatch)


def _run_blocks(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"Path": Path}
    for block in run_here(page):
        if block.kind == "file":
            Path(block.name).write_text(block.text, encoding="utf-8")
        elif block.kind == "python":
            exec(compile("\n" * block.line + block.text, str(page), "exec"), names)
        else:
            for line in block.text.splitlines():
                _run(line, f"{page}:{block.line}", monkeypatch)


class _NotInstalled(importlib.abc.MetaPathFinder):
    """As if some packages were not there."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named '{fullname}'", name=fullname)


@pytest.mark.ci
def test_the_readmes_python_needs_only_what_make_quickstart_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages that other extras bring, and ``train`` does not, are taken away."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    others = {_module(need) for name in ("device", "pandas") for need in extras[name]}
    away = others - {_module(need) for need in extras["train"]}
    assert "onnxruntime" in away
    assert "install --quiet -c constraints.txt -e '.[train]'" in (ROOT / "Makefile").read_text(encoding="utf-8")
    importlib.import_module("torch._dynamo")  # looks, once, which packages there are; not how an import would fail
    for name in [name for name in sys.modules if name.partition(".")[0] in away]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_NotInstalled(away), *sys.meta_path])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "read_toml", lambda _: TINY)
    monkeypatch.setattr(experiment, "write_report", a_page)
    shown = [block for block in run_here(README) if block.kind == "python"]
    assert "to_pandas()" in "".join(block.text for block in shown)
    names: dict[str, Any] = {}
    for block in shown:
        exec(compile(block.text, "README.md", "exec"), names)


def _module(requirement: str) -> str:
    return re.split(r"[<>=;\[ ]", requirement, maxsplit=1)[0]


def _run(line: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(line, comments=True)
    if not words:
        return
    assert words[0] == "ecofed", f"{where}: only ecofed commands can be run here; mark the block 'not run: REASON'"
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code, f"{where}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page}: {target}"
