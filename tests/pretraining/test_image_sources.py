"""Public images from anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ecofed.errors import ConfigError, DataError
from ecofed.pretraining import load_images
from ecofed.pretraining.public_images import load_pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of one flat colour each, 28x28."""
    for label, colour in {"red": (255, 0, 0), "grey": (90, 90, 90)}.items():
        (tmp_path / "set" / "train" / label).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (28, 28), colour).save(tmp_path / "set" / "train" / label / f"{number}.png")
    return tmp_path / "set"


def test_a_users_folder_is_padded_and_can_be_turned_grey(folder: Path) -> None:
    colour = load_images(str(folder), channels=3)
    assert colour.images_NHWC.shape == (12, 32, 32, 3)
    assert colour.classes == 2
    grey = load_images(str(folder), channels=1)
    assert sorted(set(grey.images_NHWC[:, 16, 16, 0].tolist())) == [76, 90]
    assert (grey.images_NHWC[:, 0] == 0).all()
    assert len(grey.mean) == len(grey.std) == 1


def test_a_limit_keeps_every_class_of_a_sorted_folder(folder: Path) -> None:
    for seed in range(3):
        limited = load_images(str(folder), channels=3, limit=8, seed=seed)
        assert len(limited.images_NHWC) == 8
        assert set(limited.labels_N.tolist()) == {0, 1}


def test_rotations_replace_the_labels(folder: Path) -> None:
    turned = load_images(str(folder), channels=3, labels="rotations")
    assert turned.classes == 4
    assert turned.labels_N.tolist() == [0, 1, 2, 3] * 3
    assert turned.title.endswith("rotations")


def test_an_images_rotation_is_its_label() -> None:
    plain = load_images("fractals", channels=1, limit=8)
    turned = load_images("fractals", channels=1, limit=8, labels="rotations")
    for before, after, label in zip(plain.images_NHWC, turned.images_NHWC, turned.labels_N, strict=True):
        assert np.array_equal(np.rot90(before, label), after)


def test_grey_images_become_three_equal_channels(folder: Path) -> None:
    for path in (folder / "train").rglob("*.png"):
        Image.new("L", (32, 32), 77).save(path)
    images = load_images(str(folder), channels=3).images_NHWC
    assert images.shape[3] == 3
    assert (images == 77).all()


def test_one_class_and_missing_sets_are_refused(folder: Path) -> None:
    for path in (folder / "train" / "red").iterdir():
        path.unlink()
    (folder / "train" / "red").rmdir()
    with pytest.raises(ConfigError, match="--labels rotations"):
        load_images(str(folder), channels=3)
    with pytest.raises(DataError, match="'no-such-set'"):
        load_images("no-such-set", channels=3)


@pytest.mark.parametrize("deep", ["", "2024", "2024/may"])
def test_where_no_labels_are_needed_any_folder_of_pictures_will_do(deep: str, tmp_path: Path) -> None:
    album = tmp_path / "album"
    (album / deep).mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (50, 40), (20 * number, 0, 0)).save(album / deep / f"{number}.png")
    (album / "notes.txt").write_text("of pictures")
    with pytest.warns(UserWarning, match=r"album: not taken: 1 of kind \.txt"):
        turned = load_images(str(album), channels=3, labels="rotations")
    assert (turned.title, turned.images_NHWC.shape) == ("album, rotations", (6, 32, 32, 3))
    with pytest.warns(UserWarning, match="notes"):
        some = load_pictures(str(album), channels=3, side=40, limit=4)
    assert (some.title, some.images_NHWC.shape) == ("4 pictures of album", (4, 40, 40, 3))
    assert set(some.images_NHWC[:, 0, 0, 0].tolist()) < {0, 20, 40, 60, 80, 100}
    with pytest.raises(DataError, match=r"--images .*album: holds pictures, .*or add --labels rotations"):
        load_images(str(album), channels=3)


def test_what_is_not_there_is_said_of_the_option(tmp_path: Path) -> None:
    for labels in ("labels", "rotations"):
        with pytest.raises(DataError, match=r"^--images .*/gone: no such file or folder"):
            load_images(str(tmp_path / "gone"), channels=3, labels=labels)  # type: ignore[arg-type]


def test_a_limit_that_leaves_one_class_is_told(folder: Path) -> None:
    for seed in range(4):  # some draw the first class, some the second
        with pytest.raises(ConfigError, match="one class only among the 1 images that --limit 1 leaves; add --labels"):
            load_images(str(folder), channels=3, limit=1, seed=seed)
