"""Where a command may write: every place that it cannot is one line and exit code 2, before anything is computed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_fakes import Cli, FakeEngine

from ecofed.errors import DataError

RUN = ("run", "quickstart", "--set", "rounds=2")


def a_file(folder: Path) -> str:
    (folder / "file").write_text("mine")
    return "file"


def below_a_file(folder: Path) -> str:
    return a_file(folder) + "/x"


def a_dangling_link(folder: Path) -> str:
    (folder / "link").symlink_to("nowhere")
    return "link"


def below_a_dangling_link(folder: Path) -> str:
    return a_dangling_link(folder) + "/x"


def a_circle(folder: Path) -> str:
    (folder / "circle").symlink_to("circle")
    return "circle"


def a_long_name(_: Path) -> str:
    return "n" * 300


def a_long_path(_: Path) -> str:
    return "/".join(["n" * 200] * 25)


def nowhere(_: Path) -> str:
    return "/proc/nowhere/x"


def nothing(_: Path) -> str:
    return ""


def blank(_: Path) -> str:
    return " "


BAD = [
    a_file,
    below_a_file,
    a_dangling_link,
    below_a_dangling_link,
    a_circle,
    a_long_name,
    a_long_path,
    nowhere,
    nothing,
    blank,
]


@pytest.mark.parametrize("place", BAD)
@pytest.mark.parametrize("command", [RUN, ("compare", "quickstart"), ("frontier", "quickstart")], ids=lambda c: c[0])
def test_a_place_that_cannot_be_is_one_line(
    cli: Cli, engine: FakeEngine, tmp_path: Path, place: Callable[[Path], str], command: tuple[str, ...]
) -> None:
    ended = cli(*command, "--out", place(tmp_path))
    assert ended.code == 2, ended.err
    assert ended.error.startswith("error: ")
    assert not engine.calls


@pytest.mark.parametrize("out", [".", "/", "..", "./", "sub/.."])
def test_a_folder_without_a_name_of_its_own_is_refused_where_it_is_not_empty(
    cli: Cli, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "here" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    ended = cli(*RUN, "--out", out)
    assert ended.code == 2
    assert "is not empty; " in ended.error
    assert ended.error.endswith("another: --out runs/first")
    assert not engine.calls


def test_the_current_folder_is_taken_where_it_is_empty(cli: Cli, engine: FakeEngine, tmp_path: Path) -> None:
    assert cli(*RUN, "--out", ".").code == 0
    assert engine.calls[0]["out"] == Path()
    assert json.loads((tmp_path / "result.json").read_text())["method"] == "ecofed"


@pytest.mark.parametrize("place", [below_a_file, a_long_name, nowhere, nothing, a_dangling_link])
@pytest.mark.parametrize(
    "command",
    [
        ("plan", "quickstart", "--plots"),
        ("export", "front", "quickstart", "--out"),
        ("export", "network", "run", "--out"),
        ("profile", "--out"),
        ("pretrain", "--images", "fractals", "--out"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_command_that_writes_looks_first(
    cli: Cli, tmp_path: Path, place: Callable[[Path], str], command: tuple[str, ...]
) -> None:
    out = place(tmp_path)
    if command[0] in ("export", "profile", "pretrain") and command[1] != "front":
        if place is a_dangling_link:  # a file takes the place of a link
            out = "link/file"
        suffix = ".safetensors" if command[0] == "pretrain" else ".onnx"
        out = f"{out}{suffix}" if out else out
    ended = cli(*command, out)
    assert ended.code == 2, ended.err
    assert ended.error.startswith("error: ")


def test_a_folder_that_may_not_be_written_is_told_before_training(
    cli: Cli, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "o").mkdir()
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: allowed(path, mode) and not mode & os.W_OK)
    ended = cli(*RUN, "--out", "o")
    assert ended.code == 2
    assert ended.error == "error: o: cannot be written to; choose another with --out"
    assert not engine.calls


def test_a_file_is_not_written_over_a_folder_or_a_device(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").mkdir()
    assert cli("export", "network", "run", "--out", "x.onnx").error == (
        "error: x.onnx is a folder; choose a file with --out"
    )
    ended = cli("profile", "--out", os.devnull)
    assert ended.code == 2
    assert ended.error == f"error: {os.devnull} is no regular file; choose another with --out"


def test_a_folder_made_for_what_fails_at_once_goes_again(cli: Cli, engine: FakeEngine, tmp_path: Path) -> None:
    engine.failure = DataError("no data")
    assert cli("run", "quickstart", "--out", "new").code == 1
    assert not (tmp_path / "new").exists()
    (tmp_path / "theirs").mkdir()
    assert cli("run", "quickstart", "--out", "theirs").code == 1
    assert (tmp_path / "theirs").is_dir()


def test_resume_says_where_there_was_nothing(cli: Cli, engine: FakeEngine) -> None:
    told = "note: new was not there: nothing is continued, the run begins"
    assert told in cli("run", "quickstart", "--resume", "--out", "new").err
    assert told not in cli("run", "quickstart", "--resume", "--out", "new").err
    assert len(engine.calls) == 2
