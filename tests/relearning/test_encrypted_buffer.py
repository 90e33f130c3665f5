"""Uploads that lie encrypted in a run's folder: nothing of them is readable without the key, and all works with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from again import kept_config

from ecofed.activations import DiskBuffer, View
from ecofed.activations.sealed_rows import rows_of_piece
from ecofed.errors import ConfigError
from ecofed.files.sealing import KEY, KEY_FILE, Seal
from ecofed.relearning.retraining import retrain
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import open_buffer
from stopping import StopAfter

HEX, OTHER = "0f" * 32, "1e" * 32


def view(samples: int, row_bytes: int) -> View:
    draw = np.random.default_rng(samples)
    return View(
        rows=draw.integers(0, 256, (samples, row_bytes), dtype=np.uint8),
        scale_N=draw.random(samples).astype(np.float32),
        sample_N=draw.permutation(samples).astype(np.int64),
        labels_N=draw.integers(0, 10, samples).astype(np.int64),
    )


@pytest.mark.parametrize(("samples", "row_bytes"), [(0, 7), (1, 7), (700, 64), (5, 40_000)])
def test_rows_come_back_in_any_order_and_are_nowhere_on_the_disk(
    samples: int, row_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, HEX)
    kept = view(samples, row_bytes)
    buffer = DiskBuffer("front", None, tmp_path, 1 << 20, seal=Seal.at_hand("it"))
    buffer.put(3, 1, kept, "front")
    index = buffer.state()
    content = b"".join(path.read_bytes() for path in buffer.files.values())
    for plain in (np.asarray(kept.rows).tobytes(), kept.labels_N.tobytes(), kept.sample_N.tobytes()):
        assert len(plain) < 8 or plain[:64] not in content
    opened = DiskBuffer("front", None, tmp_path, 1 << 20)
    opened.load_state(index)
    found = opened.latest(3)
    order_N = np.random.default_rng(1).permutation(samples)
    assert np.array_equal(found.rows[order_N], np.asarray(kept.rows)[order_N])
    for name in ("scale_N", "sample_N", "labels_N"):
        assert np.array_equal(getattr(found, name), getattr(kept, name))
    assert rows_of_piece(64) == 256  # several pieces were tried


def test_pieces_cannot_be_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, HEX)
    buffer = DiskBuffer("front", None, tmp_path, 1 << 20, seal=Seal.at_hand("it"))
    buffer.put(0, 0, view(1024, 64), "front")
    (path,) = buffer.files.values()
    content, piece = bytearray(path.read_bytes()), 256 * 64 + 16
    first = 48 + 8
    content[first : first + 2 * piece] = content[first + piece : first + 2 * piece] + content[first : first + piece]
    path.write_bytes(content)
    found = buffer.latest(0)
    with pytest.raises(ConfigError, match="does not open with this key: it was encrypted with another one"):
        found.rows[np.arange(3)]


def encrypted(**changes: Any) -> Any:
    return kept_config(encrypt_buffer=True, **changes)


@pytest.mark.parametrize("where", [pytest.param("memory", marks=pytest.mark.slow), "disk"])
def test_an_encrypted_run_is_stopped_continued_and_learned_from_again_as_a_plain_one(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecofed.runs.experiment.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.delenv(KEY, raising=False)
    key = tmp_path / "key"
    key.write_text(f"{HEX}\n")
    monkeypatch.setenv(KEY_FILE, str(key))
    folder, config = tmp_path / "run", encrypted(ecofed__buffer=where)
    plain = run(kept_config(ecofed__buffer=where), out=tmp_path / "plain", report=False)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=folder, observer=StopAfter(2), report=False)
    monkeypatch.setenv(KEY, OTHER)
    with pytest.raises(ConfigError, match="does not open with this key: it was encrypted with another one"):
        run(config, out=folder, resume=True, report=False)
    monkeypatch.delenv(KEY)
    found = run(config, out=folder, resume=True, report=False)
    assert [one.test_accuracy for one in found.rounds] == [one.test_accuracy for one in plain.rounds]
    assert found.ledger == plain.ledger
    again, as_plain = (retrain(tmp_path / one, out=tmp_path / f"{one}-again", report=False) for one in ("run", "plain"))
    assert again.totals.final_test_accuracy == as_plain.totals.final_test_accuracy
    monkeypatch.delenv(KEY_FILE)
    with pytest.raises(ConfigError, match=r"kept is encrypted, and its key is not here; set ECOFED_BUFFER_KEY_FILE"):
        open_buffer(folder)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            None,
            "the buffer of a run with encrypt_buffer=true is encrypted, and its key is not here; set ECOFED",
        ),
        ("secret", "ECOFED_BUFFER_KEY holds no key: it must be 64 hexadecimal digits ('openssl rand -hex 32')"),
    ],
)
def test_a_key_that_is_missing_is_said_before_the_start(
    key: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (KEY, KEY_FILE):
        monkeypatch.delenv(name, raising=False)
    if key is not None:
        monkeypatch.setenv(KEY, key)
    with pytest.raises(ConfigError) as refused:
        run(encrypted())
    assert str(refused.value).startswith(message)


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"ECOFED_BUFFER_KEY_FILE = .*none: cannot be read"):
        Seal.at_hand("it")
