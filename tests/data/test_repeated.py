"""Pictures that are there more than once are told of, not learned and tested in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecofed.config import Config
from ecofed.config.problem import DataConfig
from ecofed.data.dataset import Dataset, ImageSet
from ecofed.data.partitions import left_out
from ecofed.data.repeated import repeated
from ecofed.runs.preparation import prepare


def of(train: list[tuple[int, int]], test: list[tuple[int, int]], name: str = "mine") -> Dataset:
    """Pictures of one level each, with their labels."""

    def part(pairs: list[tuple[int, int]]) -> ImageSet:
        levels_N, labels_N = np.array(pairs, np.int64).reshape(-1, 2).T
        return ImageSet(
            np.broadcast_to(levels_N[:, None, None, None], (len(pairs), 4, 4, 1)).astype(np.uint8), labels_N
        )

    classes = ("ant", "bee")
    return Dataset(
        name=name,
        title=name,
        train=part(train),
        test=part(test),
        classes=classes,
        mean=(0.5,),
        std=(0.5,),
        flip=True,
        place="path",
        compressed_as=None,
        compressed_bytes_N=None,
        shared_header_bytes=0,
    )


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ([(1, 0), (2, 1), (2, 1)], [(3, 0), (4, 1)], []),
        ([(1, 0), (2, 1)], [(2, 1), (2, 1), (3, 0)], ["2 of 3 test pictures are training pictures, too"]),
        ([(1, 0), (1, 1), (2, 0)], [(3, 0)], ["2 pictures are equal in every pixel to one of another class"]),
        ([(1, 0), (2, 0)], [(2, 1)], ["1 of 1 test pictures", "2 pictures are equal"]),
        ([], [(2, 1)], []),
    ],
)
def test_copies_in_both_splits_and_in_several_classes_are_told_of(
    train: list[tuple[int, int]], test: list[tuple[int, int]], told: list[str]
) -> None:
    notes = repeated(of(train, test))
    assert len(notes) == len(told)
    assert all(words in note for words, note in zip(told, notes, strict=True))
    assert repeated(of(train, test, "digits")) == [], "data sets with a name are as they are"


def test_very_many_pictures_are_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = of([(1, 0), (2, 1)], [(2, 1)])
    assert len(repeated(copies)) == 1
    monkeypatch.setattr("ecofed.data.repeated.MOST_PICTURES", 1)
    assert repeated(copies) == []


def test_devices_of_too_few_images_are_counted() -> None:
    config = DataConfig(partition="column", device_column="cam", least_samples=3)
    device_N = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3])
    told = left_out([np.arange(3), np.arange(6, 9)], device_N, config)
    assert told is not None
    assert "2 of 4 devices" in told
    assert "fewer than 3 images (data.least_samples) and are left out, and their images with them (3)" in told
    assert left_out([np.arange(3)], device_N[:3], config) is None


def test_a_run_says_so(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for at, kind in enumerate("ab"):
            (tmp_path / "own" / part / kind).mkdir(parents=True)
            Image.new("L", (32, 32), at + 1).save(tmp_path / "own" / part / kind / "0.png")
    notes: list[str] = []
    own = {"data__name": str(tmp_path / "own"), "data__partition": "iid", "devices": 1, "sampled_devices": 1}
    prepare(Config().replace(method="classic-fl", model__name="resnet9", model__width=0.0625, **own), notes.append)
    assert any(note.startswith("own: 2 of 2 test pictures are training pictures") for note in notes)
