"""Checkpoints that somebody edited, with the right checksum: refused with one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecofed.errors import CheckpointError
from ecofed.files.tensor_files import pack, unpack
from ecofed.methods import Method
from ecofed.methods.restoring import restore
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from methods.tiny import StopAfter, run, started, tiny_config

Arrays = dict[str, np.ndarray]
Edit = Callable[[dict[str, Any], Arrays], Any]


def stopped(folder: Path, method: str, **changes: Any) -> Path:
    with pytest.raises(KeyboardInterrupt):
        run(tiny_config(method, **changes), out=folder, observer=StopAfter(2), report=False)
    return folder / CHECKPOINT_FILE


@pytest.fixture(scope="module")
def ecofed_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return stopped(tmp_path_factory.mktemp("ecofed"), "ecofed").read_bytes()


@pytest.fixture(scope="module")
def fresh_method() -> Method:
    return started(tiny_config("ecofed"))[0]


def resume(method: Method, folder: Path) -> None:
    """What ``--resume`` does with the file."""
    checkpoint = Checkpoint.read(folder, method.config.to_dict())
    assert checkpoint is not None
    restore(method, checkpoint.arrays, checkpoint.values, folder / CHECKPOINT_FILE)


def edited(file: Path, edit: Edit) -> None:
    packed = unpack(file)
    values, arrays = json.loads(packed.description), dict(packed.arrays)
    edit(values, arrays)
    file.write_bytes(pack(arrays, json.dumps(values)))


def put(path: str, value: Any) -> Edit:
    def edit(values: dict[str, Any], _: Arrays) -> None:
        *way, last = path.split(".")
        for key in way:
            values = values[key]
        values[last] = value

    return edit


def retyped(prefix: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(_: dict[str, Any], arrays: Arrays) -> None:
        name = next(name for name in sorted(arrays) if name.startswith(prefix))
        arrays[name] = change(arrays[name])

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (put("wall_seconds", None), "'wall_seconds' must be a finite number, not null"),
        (put("wall_seconds", -5), "'wall_seconds' must be in 0"),
        (put("records", {}), "'records' must be a list, not an object"),
        (put("ledger.bytes", {"weights": {"uplink": "1"}}), "'ledger.bytes.weights.uplink' must be a whole number"),
        (put("ledger.bytes", {"gold": {"uplink": 1, "downlink": 1}}), "another kind or direction"),
        (put("config", []), "'config' must be an object"),
        (put("config.rounds", 1), "it has as many rounds as the whole run"),
        (put("config.seed", 10**40), "a whole number of 41 digits"),
        (put("surplus", 1), "unknown field 'surplus'"),
        (put("values.trainer", None), "'values.trainer' must be an object, not null"),
        (put("values.trainer.steps", "many"), "'values.trainer.steps' must be a whole number, not 'many'"),
        (put("values.installed", [1.5]), r"'values.installed\[0\]' must be a whole number"),
        (put("values.front_id", "another"), "it was made with front another"),
        (put("values", {}), "'values' lacks the field 'front_id'"),
        (lambda values, _: values["records"][0].pop("devices"), r"'records\[0\]' lacks the field 'devices'"),
        (lambda values, _: values["records"][0].update(round=2), "its rounds do not count from 1"),
        (lambda _, arrays: arrays.pop(next(iter(sorted(arrays)))), "lacks|weights lack"),
        (lambda _, arrays: arrays.update(strange=np.zeros(3)), "it has a strange array 'strange'"),
        (retyped("buffer/", lambda array: array + 1000), "has a label outside the 10 classes"),
        (retyped("buffer/", lambda array: array.astype(np.float32)), "is float32"),
        (retyped("history", lambda array: array[:, :3]), "a table of 4 columns is int64"),
        (retyped("history", lambda array: -array), "the history of uploads has a negative number"),
        (retyped("history", lambda array: array + np.array([50, 0, 0, 0])), "it lacks 5"),
        (retyped("momentum/", lambda array: array[:1]), "'momentum/0' is float32"),
        (retyped("momentum/", lambda array: array.astype(np.int8)), "'momentum/0' is int8"),
        (retyped("back/", lambda array: array.astype(np.int64)), "not what a network computes with"),
        (retyped("buffer/", lambda array: array[:-1]), "buffer/"),
    ],
)
def test_an_edited_checkpoint_is_refused(
    edit: Edit, words: str, ecofed_checkpoint: bytes, fresh_method: Method, tmp_path: Path
) -> None:
    file = tmp_path / CHECKPOINT_FILE
    file.write_bytes(ecofed_checkpoint)
    edited(file, edit)
    with pytest.raises(CheckpointError, match=words) as caught:
        resume(fresh_method, tmp_path)
    assert str(caught.value).startswith(f"{file}: damaged (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["rows", "scale_N", "sample_N", "labels_N"])
def test_every_field_of_a_buffered_view_is_checked(
    field: str, ecofed_checkpoint: bytes, fresh_method: Method, tmp_path: Path
) -> None:
    def edit(_: dict[str, Any], arrays: Arrays) -> None:
        name = next(name for name in sorted(arrays) if name.endswith(f"/{field}"))
        arrays[name] = np.zeros((len(arrays[name]) + 1, 2), np.uint16)

    file = tmp_path / CHECKPOINT_FILE
    file.write_bytes(ecofed_checkpoint)
    edited(file, edit)
    with pytest.raises(CheckpointError, match="damaged"):
        resume(fresh_method, tmp_path)


@pytest.mark.parametrize(
    ("method", "prefix"),
    [("closed-form", "sums/"), ("fedgkt", "logits/"), ("lgl", "auxiliary/"), ("classic-fl", "model/")],
)
def test_arrays_of_other_methods_are_checked(method: str, prefix: str, tmp_path: Path) -> None:
    file = stopped(tmp_path, method)
    edited(file, retyped(prefix, lambda _: np.zeros((3, 3), np.float16)))
    with pytest.raises(CheckpointError, match="damaged"):
        run(tiny_config(method), out=tmp_path, resume=True, report=False)


def test_an_untouched_checkpoint_is_taken(ecofed_checkpoint: bytes, fresh_method: Method, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(ecofed_checkpoint)
    resume(fresh_method, tmp_path)
    (tmp_path / CHECKPOINT_FILE).write_bytes(ecofed_checkpoint[:-1] + b"\x00")
    with pytest.raises(CheckpointError, match="its checksum is wrong"):
        resume(fresh_method, tmp_path)
