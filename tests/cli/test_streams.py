"""What commands print arrives on streams of any encoding; one that is closed or full is told, without a traceback."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_fakes import FakeEngine
from PIL import Image

from ecofed.cli import main
from ecofed.cli.commands import COMMANDS

Stream = Callable[..., tuple[int, str, str]]

CLASSES = ("Käfer", "猫")


@pytest.fixture(params=["ascii", "cp1252", "utf-16"])
def stream(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stream:
    """Runs ``ecofed WORDS...`` in an empty folder, with streams of this encoding, as strict as Python makes them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    encoding: str = request.param

    def run(*words: str) -> tuple[int, str, str]:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["ecofed", *words])
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            with pytest.raises(SystemExit) as stop:
                main()
        out, err = (bytes(one.buffer.getvalue()).decode(encoding) for one in streams)  # type: ignore[attr-defined]
        assert "Traceback" not in err
        return int(stop.value.code or 0), out, err

    return run


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Classes, and a folder, whose names most encodings lack."""
    folder = tmp_path / "Bilder 猫"
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 200, (32, 32), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number} é.png")
    return folder


TINY = [
    *("model.name=lenet", "model.width=0.5", "devices=2", "sampled_devices=2", "rounds=1", "batch_size=4"),
    *("test_samples=8", "front.name=random", "initialisation=random"),
]


def test_every_command_says_what_it_has_to_say(stream: Stream, pictures: Path) -> None:
    sets = [word for text in [f"data.name={pictures}", *TINY] for word in ("--set", text)]
    code, out, err = stream("run", *sets, "--out", "größe", "--json")
    assert code == 0, err
    assert json.loads(out)["data"]["classes"] == list(CLASSES)
    code, out, err = stream("run", *sets, "--out", "größe", "--resume")
    assert code == 0, err
    assert "ecofed" in out

    image = str(next((pictures / "test" / CLASSES[0]).iterdir()))
    code, out, err = stream("predict", "größe", image, "--json")
    assert code == 0, err
    (prediction,) = json.loads(out)
    assert prediction["label"] in CLASSES
    assert prediction["image"] == image
    code, out, err = stream("predict", "größe", image)
    assert code == 0, err
    assert prediction["label"] in out.replace("\\xe4", "ä").replace("\\u732b", "猫")

    for words in (["evaluate", "größe"], ["report", "größe"]):
        code, out, err = stream(*words)
        assert code == 0, err
        assert "accuracy" in out
        code, out, err = stream(*words, "--json")
        assert code == 0, err
        assert isinstance(json.loads(out), dict)
    assert stream("export", "network", "größe", "--out", "größe.onnx")[0] == 0
    code, out, err = stream("predict", "größe", "nichts-ü.png")
    assert code == 1
    assert "nichts-" in err


@pytest.mark.parametrize(
    "words",
    [
        ("presets",),
        ("presets", "--keys"),
        ("presets", "quickstart"),
        ("data", "list"),
        ("profile", "--list"),
        ("front", "list"),
        ("front", "show", "vgg11-w0.5-rgb"),
    ],
    ids=" ".join,
)
def test_lists_are_printed(stream: Stream, words: tuple[str, ...]) -> None:
    code, out, err = stream(*words)
    assert code == 0, err
    assert len(out.split()) > 20
    code, out, err = stream(*words, "--json")
    assert code == 0, err
    assert json.loads(out)


@pytest.mark.usefixtures("engine")
def test_results_and_errors_are_printed(stream: Stream, tmp_path: Path) -> None:
    (tmp_path / "größe.toml").write_text("rounds = 2\n")
    code, out, _ = stream("compare", "größe.toml", "--methods", "ecofed,classic-fl", "--json")
    assert code == 0
    assert json.loads(out)["command"] == "ecofed compare 'größe.toml' --methods ecofed,classic-fl --json"
    code, _, err = stream("run", "größe.toml", "--set", "größe=1")
    assert code == 2
    assert "unknown key 'gr" in err


def test_every_command_has_help(stream: Stream) -> None:
    for name in COMMANDS:
        code, out, err = stream(name, "--help")
        assert code == 0, err
        assert "--help" in out


def test_a_path_that_is_no_text_is_printed(stream: Stream) -> None:
    code, _, err = stream("evaluate", os.fsdecode(b"latin-\xe4"))
    assert code == 1
    assert err.startswith("error: latin-")


# --- in processes of their own: what the interpreter does at the end counts too ---


UNBUFFERED = "PYTHONUNBUFFERED"


def ecofed(*words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *options.pop("flags", []), "-c", "from ecofed.cli import main; main()", *words]
    # Streams as most people have them, whatever these tests are run with.
    options["env"] = {name: value for name, value in options.get("env", os.environ).items() if name != UNBUFFERED}
    return subprocess.run(command, stderr=subprocess.PIPE, check=False, **options)


ENCODINGS = [
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
]


@pytest.mark.parametrize("settings", ENCODINGS, ids=str)
def test_the_interpreters_own_encodings(settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "größe.toml").write_text("größe = 1\n", encoding="utf-8")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    done = ecofed("run", "größe.toml", env=plain | settings, cwd=tmp_path, stdout=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"error: gr")


def test_a_reader_that_has_left_hears_nothing_more() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = ecofed("presets", "--keys", stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("words", [("presets", "quickstart"), ("presets", "--keys"), ("--version",), ("run", "--help")])
@pytest.mark.parametrize("flag", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_a_full_disk_under_stdout_is_one_line(words: tuple[str, ...], flag: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = ecofed(*words, stdout=full, flags=flag)
    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written (No space left on device)\n"


def test_no_stdout_at_all() -> None:
    done = ecofed("presets", preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, b"")


def test_progress_that_nobody_can_read_does_not_end_a_run(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ecofed", "run", "quickstart", "--set", "rounds=2", "--json"])
    full = io.TextIOWrapper(io.FileIO("/dev/full", "w"), write_through=True)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", full)
        with pytest.raises(SystemExit) as stop:
            main()
    full.close()
    assert not stop.value.code
    assert json.loads(capsys.readouterr().out)["method"] == "ecofed"
    assert len(engine.calls) == 1
