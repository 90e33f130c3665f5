"""A device's own classes have the server's numbers, by name; a device that cannot say which is which is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.data import load_dataset
from ecofed.devices.local_images import class_numbers
from ecofed.devices.starting import load_worker
from ecofed.errors import DataError
from ecofed.wire import SendImages, decode, encode


def write(folder: Path, classes: dict[str, int]) -> Path:
    """Two flat pictures of this level in each class."""
    for part in ("train", "test"):
        for name, level in classes.items():
            (folder / part / name).mkdir(parents=True)
            for number in range(2):
                Image.fromarray(np.full((32, 32), level, np.uint8)).save(folder / part / name / f"{number}.png")
    return folder


def task(data: Path, *names: str) -> Task:
    config = Config(method="send-images").replace(
        data__name=str(data), devices=1, sampled_devices=1, data__augment=False
    )
    return Task(
        config=config, in_channels=1, classes=len(names), mean=(0.5,), std=(0.5,), flip=True, class_names=tuple(names)
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_device_in_a_process_of_its_own_numbers_classes_as_the_server_does(tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"ant": 10, "cafe\u0301": 100, "zebra": 200})
    worker = load_worker(task(data, "zebra", "caf\u00e9", "ant", "yak"), 0, "cpu")
    reply, _ = decode(worker.handle(encode(SendImages(round=1, quality=75, size=0)).data))
    assert sorted(reply.labels_N.tolist()) == [0, 0, 1, 1, 2, 2]  # type: ignore[attr-defined]
    bee = load_dataset(str(data))
    assert class_numbers(bee, task(data, "zebra", "caf\u00e9", "ant", "yak")).tolist() == [2, 1, 0]


@pytest.mark.parametrize("names", [("ant", "bee"), ("Ant", "bee", "cow"), ("0", "1", "2"), ("ant", "bee", "crow")])
def test_a_class_that_the_run_does_not_know_is_refused_with_both_lists(names: tuple[str, ...], tmp_path: Path) -> None:
    data = write(tmp_path / "data", {"ant": 10, "bee": 100, "cow": 200})
    with pytest.raises(DataError) as caught:
        load_worker(task(data, *names), 0, "cpu")
    assert f"is unknown to this run; the run: {', '.join(names)}; this device: ant, bee, cow" in str(caught.value)


def test_a_task_that_does_not_say_which_class_has_which_number_is_refused(tmp_path: Path) -> None:
    """From a server before tasks said so: as many classes need not be the same ones."""
    data = write(tmp_path / "data", {"ant": 10, "bee": 100})
    with pytest.raises(DataError, match="does not say which class has which number, and this device's are ant, bee;"):
        load_worker(replace(task(data, "x", "y"), class_names=()), 0, "cpu")


def test_the_classes_of_a_task_arrive_as_they_are_or_not_at_all(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert Task.from_json(task(data, "x", "y").to_json()).class_names == ("x", "y")
    for names in (("x",), ("x", "x"), ("caf\u00e9", "cafe\u0301 "), ("x", "y", "z")):
        values = json.loads(task(data, "x", "y").to_json()) | {"class_names": list(names)}
        with pytest.raises(ValueError, match="'class_names' must be 2 different names"):
            Task.from_values(values)
