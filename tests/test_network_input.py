"""A trained network carries how its pictures were prepared: evaluation, ``predict``, ONNX and devices do the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ecofed
from ecofed.config.network_input import Frame, NetworkInput, images_at_once
from ecofed.data import load_dataset
from ecofed.data.reading import Reading
from ecofed.devices.local_images import LocalImages
from ecofed.devices.starting import load_worker
from ecofed.errors import ModelError
from ecofed.files.tensor_files import pack, unpack
from ecofed.onnx import DeviceBundle, Session
from ecofed.runs.exporting import export_front, export_network
from ecofed.runs.preparation import prepare
from ecofed.runs.run_folder import MODEL_FILE
from ecofed.runs.saved_model import TrainedNetwork, load_model
from tiny_resnet import tiny_settings


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder: Path, height: int, width: int, counts: tuple[int, int] = (6, 3)) -> Path:
    """Noisy grey pictures of two classes."""
    draw = np.random.default_rng(height * width)
    for part, count in zip(("train", "test"), counts, strict=True):
        for label, name in enumerate(("dark", "light")):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(90 * label, 90 * label + 160, (height, width), np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


class Seen:
    """What networks are given, each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inputs: list[np.ndarray] = []
        forward, call = TrainedNetwork._forward, Session.__call__

        def torch_forward(network: TrainedNetwork, x_NCHW: Any) -> Any:
            self.inputs.append(x_NCHW.numpy().copy())
            return forward(network, x_NCHW)

        def onnx_call(session: Session, x_NCHW: np.ndarray) -> np.ndarray:
            self.inputs.append(x_NCHW.copy())
            return call(session, x_NCHW)

        monkeypatch.setattr(TrainedNetwork, "_forward", torch_forward)
        monkeypatch.setattr(Session, "__call__", onnx_call)

    def take(self) -> np.ndarray:
        (one,) = self.inputs
        self.inputs = []
        return one


def by_hand(file: Path, height: int, width: int) -> np.ndarray:
    """The picture at the size of training, with a black border up to 32, and normalised by 0.5 and 0.5."""
    with Image.open(file) as image:
        scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    bordered = np.zeros((32, 32))
    top, left = (32 - height) // 2, (32 - width) // 2
    bordered[top : top + height, left : left + width] = scaled
    return ((bordered / 255 - 0.5) / 0.5).astype(np.float32)


@pytest.mark.ci
@pytest.mark.parametrize(
    ("of_training", "of_picture", "used"),
    [
        ((28, 30), (61, 45), (28, 30)),  # kept with a border in training, so a photograph gets one too
        ((28, 30), (32, 32), (28, 30)),
        ((100, 80), (29, 31), (32, 32)),  # scaled in training, so nothing is left as it is
        ((100, 80), (7, 201), (32, 32)),
    ],
)
def test_everybody_sees_the_same_pixels(
    of_training: tuple[int, int],
    of_picture: tuple[int, int],
    used: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_settings(write(tmp_path / "data", *of_training))
    ecofed.run(config, out=tmp_path / "run", report=False)
    export_network(tmp_path / "run", tmp_path / "network.onnx")
    other = write(tmp_path / "other", *of_picture, counts=(1, 1))
    network, seen = load_model(tmp_path / "run"), Seen(monkeypatch)
    assert network.task.picture_size == used
    files = [other / "test" / name / "0.png" for name in ("dark", "light")]
    expected = np.stack([by_hand(file, *used) for file in files])[:, None]
    for model in (tmp_path / "run", tmp_path / "network.onnx"):
        ecofed.predict(model, files)
        np.testing.assert_array_equal(seen.take(), expected)
    ecofed.evaluate(tmp_path / "run", str(other))
    evaluated = seen.take()
    assert any(np.array_equal(evaluated[order], expected) for order in ([0, 1], [1, 0]))  # it mixes them
    # A device whose own pictures have another size than those that the server knows.
    task = replace(network.task, config=config.replace(data__name=str(other), devices=1, sampled_devices=1))
    held: list[LocalImages] = []
    monkeypatch.setattr("ecofed.devices.starting.DeviceWorker", lambda _, local: held.append(local))
    load_worker(task, 0, "cpu")
    (local,) = held
    trained = {name: by_hand(other / "train" / name / "0.png", *used) for name in ("dark", "light")}
    for sample, label in enumerate(local.labels_N.tolist()):
        np.testing.assert_array_equal(local.arrays(np.array([sample]), 0)[0, 0], trained[("dark", "light")[label]])


def test_what_the_run_itself_tested_on_is_what_evaluate_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_settings(write(tmp_path / "data", 28, 30))
    ecofed.run(config, out=tmp_path / "run", report=False)
    inputs, labels_N = prepare(config, lambda _: None).test_set()
    seen = Seen(monkeypatch)
    ecofed.evaluate(tmp_path / "run")
    np.testing.assert_array_equal(seen.take(), inputs(slice(0, len(labels_N))).numpy())


def test_send_images_looks_at_jpegs_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_settings(write(tmp_path / "data", 28, 30), "send-images", send_images__quality=30)
    ecofed.run(config, out=tmp_path / "run", report=False)
    export_network(tmp_path / "run", tmp_path / "network.onnx")
    seen = Seen(monkeypatch)
    ecofed.evaluate(tmp_path / "run")
    evaluated = seen.take()
    files = sorted((tmp_path / "data" / "test").rglob("*.png"))
    for model in (tmp_path / "run", tmp_path / "network.onnx"):
        ecofed.predict(model, files)
        predicted = seen.take()
        assert all(any(np.array_equal(one, other) for other in evaluated) for one in predicted)
    assert not np.array_equal(predicted[0, 0], by_hand(files[0], 28, 30))
    assert load_model(tmp_path / "run").task.sent_as == (30, 0)


def test_a_folder_for_devices_says_the_size_too(tmp_path: Path) -> None:
    config = tiny_settings(write(tmp_path / "data", 28, 30), "ecofed", model__name="lenet", model__width=0.5)
    export_front(config, tmp_path / "device", lambda _: None)
    task = DeviceBundle.load(tmp_path / "device").task
    assert (task.picture_size, task.in_channels, task.input_size, task.white) == ((28, 30), 1, 32, 65535)


def test_networks_of_earlier_versions_do_as_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_settings(write(tmp_path / "data", 100, 80))
    ecofed.run(config, out=tmp_path / "run", report=False)
    file = tmp_path / "run" / MODEL_FILE
    packed = unpack(file)
    values = json.loads(packed.description)
    task = json.loads(values["task"])
    for name in ("picture_size", "sent_as"):
        del task[name]
    del values["inputs"]
    file.write_bytes(pack(packed.arrays, json.dumps(values | {"task": json.dumps(task)})))
    small = write(tmp_path / "small", 29, 31) / "test" / "dark" / "0.png"
    large = write(tmp_path / "large", 61, 45) / "test" / "dark" / "0.png"
    seen = Seen(monkeypatch)
    export_network(tmp_path / "run", tmp_path / "network.onnx")
    for model in (tmp_path / "run", tmp_path / "network.onnx"):
        ecofed.predict(model, [small, large])
        np.testing.assert_array_equal(seen.take()[:, 0], [by_hand(small, 29, 31), by_hand(large, 32, 32)])


def test_a_data_set_is_read_at_the_size_that_is_asked_for_whatever_was_kept_of_it(tmp_path: Path) -> None:
    data = str(write(tmp_path / "data", 40, 36))
    for size, expected in (
        ((), (32, 32)),
        ((28, 30), (28, 30)),
        ((), (32, 32)),
        ((28, 30), (28, 30)),
        ((30, 28), (30, 28)),
    ):
        found = load_dataset(data, how=Reading(frame=Frame(sides=size)))
        assert found.test is not None
        assert found.train.images_NHWC.shape[1:3] == found.test.images_NHWC.shape[1:3] == expected
    with Image.open(tmp_path / "data" / "test" / "dark" / "0.png") as image:
        once = np.asarray(image.resize((28, 30), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(found.test.images_NHWC[0, :, :, 0], once)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"picture_size": [28]}, "'task.picture_size' must be a height and a width"),
        ({"picture_size": [28, 33]}, "'task.input_size' = 32 does not suit pictures of 28x33"),
        ({"picture_size": [0, 28]}, "picture_size"),
        ({"sent_as": [101, 0]}, "'task.sent_as' must be a quality of 1 to 100"),
        ({"sent_as": [75, 64]}, "'task.sent_as' has a side above 'input_size'"),
        ({"mean": [0.5, 0.5]}, "'task.mean' and 'std' need one value"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    config = tiny_settings(write(tmp_path / "data", 28, 30))
    ecofed.run(config, out=tmp_path / "run", report=False)
    file = tmp_path / "run" / MODEL_FILE
    packed = unpack(file)
    values = json.loads(packed.description)
    values["task"] = json.dumps(json.loads(values["task"]) | change)
    file.write_bytes(pack(packed.arrays, json.dumps(values)))
    with pytest.raises(ModelError, match=problem):
        load_model(file)


def test_what_is_usual_need_not_be_said() -> None:
    usual = NetworkInput(in_channels=1, mean=(0.5,), std=(0.5,))
    assert set(usual.described()) == {"in_channels", "input_size", "mean", "std"}
    told = replace(usual, picture_size=(28, 30), white=4095, sent_as=(75, 0)).described()
    assert (told["picture_size"], told["white"], told["sent_as"]) == ((28, 30), 4095, (75, 0))


def test_large_pictures_go_through_a_network_a_few_at_a_time() -> None:
    assert [images_at_once(side) for side in (8, 28, 32, 64, 128, 1024)] == [100, 100, 100, 25, 8, 8]
