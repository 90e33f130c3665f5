"""``make tutorial`` pastes all of the page into a shell (the pasting itself takes a quarter of an hour)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import tutorial
from doc_blocks import Block, blocks


def test_every_block_of_the_page_is_pasted_in_order() -> None:
    page = list(blocks(tutorial.PAGE))
    text = tutorial.script(page)
    pasted = [part.strip() for part in re.split(rf"echo '{tutorial.MARK} \w+'\n", text)[1:-1]]
    assert len(pasted) == len(page)
    for block, part in zip(page, pasted, strict=True):
        assert block.text.strip() in part, block
    for command in (
        "make quickstart",
        "source .venv/bin/activate",
        "ecofed run photos",
        "make fleet",
        "ecofed fleet init",
    ):
        assert f"\n{command}" in text
    assert {block.section.partition(".")[0] for block in page} >= {"1", "2", "3", "4", "5"}


def test_it_begins_as_the_readme_does() -> None:
    readme = [block for block in blocks(tutorial.ROOT / "README.md") if block.kind == "sh"]
    page = [block for block in blocks(tutorial.PAGE) if block.kind == "sh"]
    assert readme[0].text == page[0].text == "make quickstart\n"


def test_seconds_are_those_of_sections_and_files_are_written(tmp_path: Path) -> None:
    page = [
        Block("file", "one\n$HOME\n", 1, "notes.txt", section="First"),
        Block("sh", "here=there\nsleep 0.2\n", 2, section="First"),
        Block("sh", 'echo "$here" > place.txt\n', 3, left_out="minutes", section="Second"),
    ]
    seconds = tutorial.walk(page, tmp_path, tmp_path, None)
    assert list(seconds) == ["First", "Second"]
    assert 0.2 <= seconds["First"] > seconds["Second"]
    assert (tmp_path / "notes.txt").read_text() == "one\n$HOME\n"
    assert (tmp_path / "place.txt").read_text() == "there\n", "all blocks share one shell"


def test_a_failing_command_ends_it(tmp_path: Path) -> None:
    page = [Block("sh", "false\n", 1, section="First"), Block("sh", "touch after\n", 2, section="Second")]
    with pytest.raises(SystemExit, match=r"FAILED \(1\) in section 'First'"):
        tutorial.walk(page, tmp_path, tmp_path, None)
    assert not (tmp_path / "after").exists()


def test_pictures_of_the_users_own_take_the_place_of_the_pages(tmp_path: Path) -> None:
    (tmp_path / "my own" / "cat").mkdir(parents=True)
    (tmp_path / "copy").mkdir()
    tutorial.walk([Block("python", "no Python at all", 1)], tmp_path / "copy", tmp_path, tmp_path / "my own")
    assert (tmp_path / "copy" / "pictures" / "cat").is_dir()


def test_a_fresh_copy_has_what_git_keeps_and_nothing_that_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("kept.py", "new.py", "deleted.py", "made.log"):
        (here / name).write_text(name)
    (here / ".gitignore").write_text("*.log\n")
    for words in (["init", "--quiet"], ["add", "kept.py", "deleted.py", ".gitignore"]):
        subprocess.run(["git", *words], cwd=here, check=True)
    (here / "deleted.py").unlink()
    monkeypatch.setattr(tutorial, "ROOT", here)
    copy = tutorial.fresh_copy(tmp_path)
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "kept.py", "new.py"]
    assert (copy / "new.py").read_text() == "new.py"


def test_a_new_user_has_nothing_of_this_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ECOFED_DATA", "/somewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example.org")
    own = tutorial.environment(tmp_path)
    assert "ECOFED_DATA" not in own
    assert "PYTHONPATH" not in own
    assert own["HOME"] == str(tmp_path)
    assert own["PIP_INDEX_URL"] == "https://index.example.org"
