"""Files are whole or not there, whatever the disk, the folder and other people's links do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecofed.config.schema import Config
from ecofed.costs.ledger import Ledger
from ecofed.errors import ConfigError, ModelError, StorageError, WireError
from ecofed.files import disk as files
from ecofed.files.disk import (
    append_text,
    json_text,
    read_text,
    remove_unfinished,
    remove_unfinished_of,
    write_bytes,
    write_json,
    write_together,
    writing,
)
from ecofed.files.reading import content_of
from ecofed.files.tensor_files import is_described, pack, unpack
from ecofed.pretraining.checkpoint_front import read_checkpoint
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from ecofed.runs.saved_model import load_model
from ecofed.wire import FrontBundle


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- writing ---


def test_a_file_is_written_in_a_folder_that_is_made(tmp_path: Path) -> None:
    file = write_bytes(tmp_path / "a" / "b" / "c.bin", b"first")
    assert file.read_bytes() == b"first"
    write_bytes(file, b"second")
    assert file.read_bytes() == b"second"
    assert names(file.parent) == ["c.bin"]


def test_a_block_that_raises_leaves_the_old_file(tmp_path: Path) -> None:
    file = write_bytes(tmp_path / "x", b"old")

    def interrupted() -> None:
        with writing(file) as stream:
            stream.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["x"]


FULL = (("os.fsync", OSError(28, "No space left on device")), ("os.replace", OSError(30, "Read-only file system")))


@pytest.mark.parametrize(("call", "error"), FULL)
def test_a_failing_disk_names_the_file_and_leaves_nothing(
    call: str, error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_bytes(tmp_path / "model.safetensors", b"old")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(call, fail)
    with pytest.raises(StorageError) as caught:
        write_bytes(file, b"new")
    monkeypatch.undo()
    assert str(caught.value) == f"{file}: cannot be written ({error.strerror})"
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["model.safetensors"]


LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from ecofed.runs.checkpoints import Checkpoint
from ecofed.errors import StorageError
from ecofed.files.disk import append_text, write_json, write_together


signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder = Path(sys.argv[1])
checkpoint = Checkpoint(
    config={}, records=[], ledger={}, values={}, arrays={"a": np.zeros(5000)}, wall_seconds=0.0, inputs={}
)
for write in (
    lambda: write_json(folder / "result.json", {"a": ["long"] * 2000}),
    lambda: checkpoint.write(folder),
    lambda: append_text(folder / "metrics.jsonl", "x" * 2000),
    lambda: write_together({folder / "small": b"1", folder / "large": b"2" * 5000}),
):
    try:
        write()
    except StorageError as error:
        print(error)
"""


def test_a_file_that_outgrows_what_there_is_room_for(tmp_path: Path) -> None:
    """The kernel's own limit: writes fail in the middle, as on a full disk."""
    (tmp_path / "metrics.jsonl").write_text("a line\n")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{tmp_path / name}: cannot be written (File too large)"
        for name in ("result.json", CHECKPOINT_FILE, "metrics.jsonl", "large")
    ]
    assert names(tmp_path) == ["metrics.jsonl"]
    assert (tmp_path / "metrics.jsonl").read_text() == "a line\n"


def test_planted_links_are_not_followed(tmp_path: Path) -> None:
    mine = write_bytes(tmp_path / "mine" / "diary", b"dear diary")
    folder = tmp_path / "shared"
    folder.mkdir()
    # What earlier versions called their temporary files, and the file itself.
    for name in (".model.safetensors", f".model.safetensors.{os.getpid()}.tmp", "model.safetensors"):
        (folder / name).symlink_to(mine)
    file = write_bytes(folder / "model.safetensors", b"weights")
    assert mine.read_bytes() == b"dear diary"
    assert not file.is_symlink()
    assert file.read_bytes() == b"weights"
    (folder / "metrics.jsonl").symlink_to(mine)
    with pytest.raises(StorageError, match=r"metrics\.jsonl: cannot be written"):
        append_text(folder / "metrics.jsonl", "a line\n")
    assert mine.read_bytes() == b"dear diary"


def test_temporary_names_cannot_be_foreseen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is there already, whatever it is, is left alone."""
    monkeypatch.setattr(files.os, "urandom", bytes)
    mine = write_bytes(tmp_path / "diary", b"dear diary")
    taken = tmp_path / f".x.{'0' * 16}.tmp"
    taken.symlink_to(mine)
    with pytest.raises(StorageError, match="x: cannot be written"):
        write_bytes(tmp_path / "x", b"content")
    assert mine.read_bytes() == b"dear diary"
    assert taken.is_symlink()


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_a_secret_is_never_readable_by_others(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with writing(tmp_path / "key", mode=0o600) as stream:
            (unfinished,) = tmp_path.iterdir()
            assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600
            stream.write(b"secret")
        assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
        assert stat.S_IMODE(write_bytes(tmp_path / "x", b"").stat().st_mode) == 0o666 & ~umask
    finally:
        os.umask(before)


def long_name(folder: Path) -> Path:
    return folder / ("n" * 300)


def below_a_file(folder: Path) -> Path:
    return write_bytes(folder / "file", b"") / "x"


def a_folder(folder: Path) -> Path:
    (folder / "folder").mkdir()
    return folder / "folder"


def a_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def a_device(_: Path) -> Path:
    return Path(os.devnull)


def a_link_in_a_circle(folder: Path) -> Path:
    (folder / "circle").symlink_to(folder / "circle")
    return folder / "circle"


def a_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(folder):  # whose path may be long
        made.bind("socket")
    return folder / "socket"


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
@pytest.mark.parametrize("place", [a_pipe, a_socket, lambda _: Path("/dev/zero")], ids=["pipe", "socket", "device"])
def test_what_is_no_regular_file_is_not_waited_for(place: Callable[[Path], Path], tmp_path: Path) -> None:
    path = place(tmp_path)
    for read, error in ((content_of, OSError), (read_text, ConfigError), (load_model, ModelError)):
        with pytest.raises(error, match="it is no regular file"):
            read(path)
    with pytest.raises(WireError, match="it is no regular file"):
        FrontBundle.load(path)
    with pytest.raises(ModelError, match=r"cannot be read \(it is no regular file"):
        read_checkpoint(path)
    assert not is_described(path)


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no such folder")
def test_text_that_a_shell_hands_over_is_read() -> None:
    """``ecofed forget RUN --samples <(...)``."""
    reading, writing_to = os.pipe()
    os.write(writing_to, b"3:1\n")
    os.close(writing_to)
    try:
        assert read_text(f"/dev/fd/{reading}") == "3:1\n"
    finally:
        os.close(reading)


@pytest.mark.parametrize("place", [long_name, below_a_file, a_folder, a_pipe, a_device, a_link_in_a_circle])
def test_what_cannot_be_a_file_is_one_line(place: Callable[[Path], Path], tmp_path: Path) -> None:
    path = place(tmp_path)
    before = names(tmp_path)
    with pytest.raises(StorageError) as caught:
        write_bytes(path, b"content")
    assert str(caught.value).startswith(f"{path}: cannot be written (")
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == before
    assert not Path(os.devnull).is_file()


def test_the_longest_name_a_folder_takes_can_be_written(tmp_path: Path) -> None:
    file = write_bytes(tmp_path / ("ä" * 127), b"content")
    assert file.read_bytes() == b"content"
    odd = write_bytes(tmp_path / os.fsdecode(b"latin-\xe4"), b"content")
    assert odd.read_bytes() == b"content"


def test_left_overs_of_a_killed_writer_go_and_nothing_else(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from ecofed.files.disk import writing\n"
        "with writing(sys.argv[1]) as stream:\n"
        "    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 1
    (tmp_path / ".mine.tmp").write_text("")
    remove_unfinished(tmp_path)
    assert names(tmp_path) == [".mine.tmp"]


def test_files_that_belong_together_come_together(tmp_path: Path) -> None:
    front, card = tmp_path / "front", tmp_path / "card"
    write_together({card: b"1", front: b"2"}, modes={front: 0o600})
    assert (card.read_bytes(), front.read_bytes()) == (b"1", b"2")
    assert stat.S_IMODE(front.stat().st_mode) == 0o600
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder: cannot be written"):
        write_together({card: b"3", tmp_path / "folder": b"4"})
    assert card.read_bytes() == b"1"


def test_a_pair_whose_second_half_fails_leaves_no_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def fail_for_keys(source: Path, target: Path) -> None:
        if target.name == "key":
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_for_keys)
    with pytest.raises(StorageError, match=r"key: cannot be written \(Input/output error\)"):
        write_together({tmp_path / "certificate": b"1", tmp_path / "key": b"2"})
    assert names(tmp_path) == []


# --- JSON ---


def strict(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def test_json_has_no_nan_and_no_letters_that_a_stream_may_lack() -> None:
    values = {"loss": [float("nan"), 1.5, np.float64("inf")], "pair": (1, -float("inf")), "text": "ä\udce4\u2028"}
    text = json_text(values)
    assert text.isascii()
    assert strict(text) == {"loss": [None, 1.5, None], "pair": [1, None], "text": "ä\udce4\u2028"}


def test_json_on_disk_reads_as_people_write(tmp_path: Path) -> None:
    file = write_json(tmp_path / "x.json", {"class": "Käfer", "broken": "\udce4", "loss": float("nan")})
    assert "Käfer" in file.read_text(encoding="utf-8")
    assert strict(file.read_text(encoding="utf-8")) == {"class": "Käfer", "broken": "\udce4", "loss": None}


def test_a_checkpoint_of_a_diverged_run_is_json(tmp_path: Path) -> None:
    config, ledger = Config().to_dict(), Ledger().to_dict()
    values = {"loss": float("nan")}
    Checkpoint(config=config, records=[], ledger=ledger, values=values, arrays={}, wall_seconds=0.0, inputs={}).write(
        tmp_path
    )
    assert b"NaN" not in (tmp_path / CHECKPOINT_FILE).read_bytes()
    read = Checkpoint.read(tmp_path, config)
    assert read is not None
    assert read.values == {"loss": None}


# --- reading ---


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfa = 1\r\nb = 2\r\n", b"a = 1\rb = 2\r", b"a = 1\nb = 2\n"])
def test_text_of_any_editor_is_read(content: bytes, tmp_path: Path) -> None:
    write_bytes(tmp_path / "x.toml", content)
    assert read_text(tmp_path / "x.toml") == "a = 1\nb = 2\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a = 1".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"\xfe\xff\0a", "is UTF-16; save it as UTF-8"),
        ("a = 1".encode("utf-16-le"), "is UTF-16, or no text at all; save it as UTF-8"),
        ("a = 1".encode("utf-32"), "is UTF-32; save it as UTF-8"),
        (b"a = 1\nb = '\xe4'\n", "line 2 is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_text_in_another_encoding_is_named(content: bytes, words: str, tmp_path: Path) -> None:
    file = write_bytes(tmp_path / "x.toml", content)
    with pytest.raises(ConfigError) as caught:
        read_text(file)
    assert str(caught.value) == f"{file}: {words}"


def test_text_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing: cannot be read \(No such file or directory\)"):
        read_text(tmp_path / "nothing")


def test_of_one_file_only_what_was_left_of_it_is_removed(tmp_path: Path) -> None:
    mine, others = tmp_path / f".a[1].bin.{'0' * 16}.tmp", tmp_path / f".b.bin.{'0' * 16}.tmp"
    for left in (mine, others):
        left.write_bytes(b"half")
    remove_unfinished_of(tmp_path / "a[1].bin")
    assert not mine.exists()
    assert others.exists()


@pytest.mark.parametrize("text", ["{}", '{"told": ",\\"checksum\\":\\"1\\"}"}'])
def test_the_same_arrays_make_the_same_file(text: str, tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(3, np.int64)}
    contents = {pack(arrays, text) for _ in range(20)}
    assert len(contents) == 1
    (tmp_path / "x.safetensors").write_bytes(contents.pop())
    found = unpack(tmp_path / "x.safetensors")
    assert (found.description, found.has_checksum) == (text, True)
    np.testing.assert_array_equal(found.arrays["a"], arrays["a"])
