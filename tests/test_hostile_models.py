"""Trained networks, fronts and device bundles that somebody edited: refused with one line that says where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from ecofed.config.task import Task
from ecofed.errors import ModelError, WireError
from ecofed.files.tensor_files import pack, unpack
from ecofed.onnx import DeviceBundle
from ecofed.runs.prediction import OnnxNetwork
from ecofed.runs.saved_model import MODEL_FILE, load_model
from ecofed.wire import FrontBundle
from methods.tiny import run, tiny_config

Arrays = dict[str, np.ndarray]
Edit = Callable[[dict[str, Any], Arrays], Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    run(tiny_config("ecofed", rounds=1), out=folder, report=False)
    return folder


def described(path: str, value: Any) -> Edit:
    """``task`` is JSON in the JSON."""

    def edit(values: dict[str, Any], _: Arrays) -> None:
        whole = values | {"task": json.loads(values["task"])}
        inner: Any = whole
        *way, last = path.split(".")
        for key in way:
            inner = inner[key]
        inner[last] = value
        if value is ...:
            del inner[last]
        values |= whole
        if isinstance(whole.get("task"), dict):
            values["task"] = json.dumps(whole["task"])

    return edit


def array(name: str, value: np.ndarray | None) -> Edit:
    def edit(_: dict[str, Any], arrays: Arrays) -> None:
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value

    return edit


CLASSIFIER = "model.head.classifier.weight"


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (described("classes", None), "'classes' must be a list, not null"),
        (described("classes", ["a"]), "'classes' must be 10 different names, not 1"),
        (described("classes", ["a"] * 10), "'classes' must be 10 different names, not 1"),
        (described("classes", [*"abcdefghi", None]), r"'classes\[9\]' must be text, not null"),
        (described("cut", 3), "'cut' must be text, not 3"),
        (described("cut", "block9"), "block9"),
        (described("normalisation", "layer"), "'normalisation' must be one of batch, frozen, group"),
        (described("normalisation", "group"), "'normalisation' is group, in its settings frozen"),
        (described("task", None), "'task' must be text, not null"),
        (described("task.classes", None), "'task.classes' must be a whole number, not null"),
        (described("task.classes", -1), "'task.classes' must be in 1..1.04858e.06, not -1"),
        (described("task.classes", 11), "'classes' must be 11 different names"),
        (described("task.in_channels", -3), "'task.in_channels' must be in 1..16, not -3"),
        (described("task.in_channels", 3), "need one value for each of 'in_channels'"),
        (described("task.input_size", 0), "'task.input_size' must be in 8..1024, not 0"),
        (described("task.input_size", 16), "'task.input_size' = 16 does not suit|gives"),
        (described("task.mean", []), "need one value for each of 'in_channels'"),
        (described("task.std", [0.0]), r"'task.std\[0\]' must be in"),
        (described("task.std", "wide"), "'task.std' must be a list, not 'wide'"),
        (described("task.flip", "yes"), "'task.flip' must be true or false, not 'yes'"),
        (described("task.config", 3), "'config' must be an object, not 3"),
        (described("task.config.seed", -1), "seed = -1"),
        (described("task.config.model.width", 8.0), "has shape"),
        (described("task.config.model.name", "gpt"), "model.name = 'gpt'"),
        (described("task.config.surprise", 1), "unknown key 'surprise'"),
        (described("task.more", 1), "'task' has an unknown field 'more'"),
        (described("task.mean", ...), "'task' lacks the field 'mean'"),
        (lambda values, _: values.update(task="[" * 50_000), "is nested deeper than 40 levels"),
        (lambda values, _: values.update(task='{"seed": 1e999}'), "no float can hold"),
        (lambda values, _: values.update(task="null"), "'task' must be an object, not null"),
        (lambda values, _: values.pop("cut"), "lacks the field 'cut'"),
        (array(CLASSIFIER, np.full((10, 60), np.nan, np.float32)), "entries that are not finite numbers"),
        (array(CLASSIFIER, np.zeros((11, 60), np.float32)), r"has shape \(11, 60\); the network needs"),
        (array(CLASSIFIER, np.zeros((10, 60), np.int32)), "entries that are not finite numbers"),
        (array(CLASSIFIER, None), "lacks the weights 'head.classifier.weight'"),
        (array("model.strange", np.zeros(1, np.float32)), "weights that the network does not: strange"),
        (array("surplus", np.zeros(1, np.float32)), "an array 'surplus' that no network has"),
        (array("upper", np.ones(3, np.float32)), "'upper' must have"),
        (array("model.bottleneck.conv.weight", np.ones(3, np.float32)), "'bottleneck.conv.weight' has shape"),
    ],
)
def test_an_edited_network_is_refused(edit: Edit, words: str, trained: Path, tmp_path: Path) -> None:
    packed = unpack(trained / MODEL_FILE)
    values, arrays = json.loads(packed.description), dict(packed.arrays)
    edit(values, arrays)
    file = tmp_path / MODEL_FILE
    file.write_bytes(pack(arrays, json.dumps(values)))  # with the right checksum
    with pytest.raises(ModelError, match=words) as caught:
        load_model(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_network_has_a_checksum_and_older_ones_are_read_without(trained: Path, tmp_path: Path) -> None:
    content = (trained / MODEL_FILE).read_bytes()
    packed = unpack(trained / MODEL_FILE)
    assert packed.has_checksum
    file = tmp_path / MODEL_FILE
    file.write_bytes(save(packed.arrays, metadata={"ecofed": packed.description}))
    assert load_model(file).classes == load_model(trained).classes == [str(digit) for digit in range(10)]
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="its checksum is wrong"):
        load_model(file)
    file.write_bytes(content.replace(b"shards_per_device", b"shirds_per_device", 1))
    assert file.read_bytes() != content
    with pytest.raises(ModelError, match="its checksum is wrong"):
        load_model(file)


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 100, b"\x02" + b"\0" * 7 + b"{}", b"not a network" * 9])
def test_what_is_no_network_at_all(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / MODEL_FILE
    file.write_bytes(content)
    with pytest.raises(ModelError, match="not a network that ecofed can use") as caught:
        load_model(file)
    assert "\n" not in str(caught.value)


def front() -> FrontBundle:
    return FrontBundle(
        model="lenet",
        width=1.0,
        cut="block1",
        in_channels=1,
        mean=(0.5,),
        std=(0.25,),
        activation_shape=(2, 4, 4),
        weights={"block1.conv.weight": np.ones((2, 1, 5, 5), np.float32)},
        upper={2: np.ones(2, np.float32)},
        card={"images": "none"},
    )


def test_a_front_file_has_a_checksum_and_its_id_is_the_same(tmp_path: Path) -> None:
    bundle, file = front(), tmp_path / "front.safetensors"
    bundle.save(file)
    assert FrontBundle.load(file).id == bundle.id == FrontBundle.decode(bundle.encode()).id
    content = file.read_bytes()
    file.write_bytes(bundle.encode())  # as earlier versions wrote it
    assert FrontBundle.load(file).id == bundle.id
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WireError, match="its checksum is wrong"):
        FrontBundle.load(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": None}, "'width' must be a finite number, not null"),
        ({"width": 1e6}, "'width' must be in"),
        ({"in_channels": 10**25}, "'in_channels' must be in 1..1024"),
        ({"input_size": -32}, "'input_size' must be in 1..8192, not -32"),
        ({"activation_shape": [2, 4]}, "'activation_shape' must be a list of 3"),
        ({"activation_shape": [2, -1, 60000]}, r"'activation_shape\[1\]' must be in"),
        ({"mean": "0.5"}, "'mean' must be a list"),
        ({"std": [0]}, "std above 0"),
        ({"card": []}, "'card' must be an object"),
        ({"normalisation": 0}, "'normalisation' must be text, not 0"),
        ({"surprise": 1}, "unknown field 'surprise'"),
    ],
)
def test_an_edited_front_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = tmp_path / "front.safetensors"
    front().save(file)
    packed = unpack(file)
    file.write_bytes(pack(packed.arrays, json.dumps(json.loads(packed.description) | change)))
    with pytest.raises(WireError, match=words):
        FrontBundle.load(file)


@pytest.mark.parametrize(
    "text", ['{"mean": [Infinity]}', '{"a": 1e400}', '{"width": ' + "9" * 5000 + "}", "[" * 10_000]
)
def test_a_front_of_impossible_json_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "front.safetensors"
    file.write_bytes(pack({"upper.2": np.ones(2, np.float32)}, text))
    with pytest.raises(WireError, match="front bundle: malformed"):
        FrontBundle.load(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "ecofed-device/9"}, "schema 'ecofed-device/9'"),
        ({"task": None}, "'task' must be an object"),
        ({"sha256": {}}, "damaged or changed"),
        ({"sha256": []}, "'sha256' must be an object"),
        ({"front_id": "other"}, "not 'front_id' other"),
    ],
)
def test_an_edited_device_bundle_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    task = Task(config=tiny_config("ecofed"), in_channels=1, classes=10, mean=(0.5,), std=(0.5,), flip=False)
    DeviceBundle(task=task, front=b"onnx", bundle=front()).save(tmp_path)
    assert DeviceBundle.load(tmp_path).task == task
    file = tmp_path / "device.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError, match=words):
        DeviceBundle.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": None}, "'classes' must be a list"),
        ({"classes": ["a"]}, "gives numbers of shape .* for 1 classes"),
        ({"in_channels": 3}, "need one value for each of 'in_channels'"),
        ({"input_size": 28}, "'input_size' = 28 does not suit pictures of 32x32"),
        ({"input_size": 36}, "the ONNX network cannot run"),
        ({"std": [0.0]}, r"'std\[0\]' must be in"),
        ({"mean": [float("nan")]}, r"'mean\[0\]' must be a finite number|lacks the field"),
    ],
)
def test_an_edited_onnx_network_is_refused(change: dict[str, Any], words: str, trained: Path, tmp_path: Path) -> None:
    from ecofed.onnx import graph
    from ecofed.runs.exporting import network_file

    file = tmp_path / "network.onnx"
    network = load_model(trained)
    original = graph.metadata_text
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecofed.models.exported.metadata_text", lambda values: original({**values, **change}))
        file.write_bytes(network_file(network))
    with pytest.raises(ModelError, match=words) as caught:
        OnnxNetwork(file)(np.zeros((2, 28, 28, 1), np.uint8))
    assert "\n" not in str(caught.value)
    assert replace(front(), card={}).id == front().id


def test_a_network_whose_numbers_overflow_says_so(trained: Path, tmp_path: Path) -> None:
    packed = unpack(trained / MODEL_FILE)
    huge = {name: np.full_like(value, 3e38) if "classifier" in name else value for name, value in packed.arrays.items()}
    (tmp_path / MODEL_FILE).write_bytes(pack(huge, packed.description))
    with pytest.raises(ModelError, match="numbers that are not finite"):
        load_model(tmp_path).logits(np.full((2, 28, 28, 1), 200, np.uint8))
