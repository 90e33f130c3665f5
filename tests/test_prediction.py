"""Pictures are read for a prediction as they are read for training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ecofed
from ecofed.config.network_input import NetworkInput
from ecofed.errors import DataError
from ecofed.runs import prediction
from ecofed.runs.prediction import _read_image

GREY = NetworkInput(in_channels=1, mean=(0.5,), std=(0.5,))
COLOUR = NetworkInput(in_channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 127 * 257, np.uint16)).save(tmp_path / "grey.png")
    assert (_read_image(tmp_path / "grey.png", GREY)[0] == 127).all()
    assert _read_image(tmp_path / "grey.png", COLOUR)[0].shape == (32, 32, 3)


def test_small_pictures_get_a_border_and_large_ones_are_scaled(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28), (255, 255, 255)).save(tmp_path / "small.png")
    Image.new("RGB", (100, 60), (255, 255, 255)).save(tmp_path / "large.png")
    small, large = (_read_image(tmp_path / name, GREY)[0] for name in ("small.png", "large.png"))
    assert (small[2:30, 2:30] == 255).all()
    assert small.sum() == 28 * 28 * 255
    assert (large == 255).all()


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(40), b"P6 32 32 255 x", b"%!PS-Adobe-3.0 EPSF-3.0"]
)
def test_what_is_no_picture_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png: not a picture that can be read") as error:
        _read_image(tmp_path / "broken.png", COLOUR)
    assert "\n" not in str(error.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: is no regular file"):
        _read_image(tmp_path / "pipe.png", COLOUR)


def test_no_picture_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="give at least one"):
        ecofed.predict("anywhere", [])


class Brightness:
    """Answers whether a grey picture is dark or bright."""

    classes, how, by_the_batch = ("dark", "bright"), GREY, False

    def __init__(self, *_: object) -> None:
        pass

    def __call__(self, images_NHWC: np.ndarray) -> np.ndarray:
        mean_N = images_NHWC.mean(axis=(1, 2, 3))
        return np.stack([127 - mean_N, mean_N - 127], axis=1)


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures at three levels, and no other file."""
    monkeypatch.setattr(prediction, "_torch_network", Brightness)
    folder = tmp_path / "album"
    (folder / "b" / "deep").mkdir(parents=True)
    for name, grey in (("b/deep/1.PNG", 250), ("b/2.jpg", 3), ("z.webp", 240)):
        Image.new("L", (40, 32), grey).save(folder / name)
    return folder


def test_every_picture_of_a_folder_is_answered_for_in_order(album: Path) -> None:
    answers = ecofed.predict("model", [album])
    found = [(answer.image.relative_to(album).as_posix(), answer.label) for answer in answers]
    assert found == [("b/2.jpg", "dark"), ("b/deep/1.PNG", "bright"), ("z.webp", "bright")]
    assert ecofed.predict("model", album) == ecofed.predict("model", str(album)) == answers  # one path will do
    assert ecofed.predict("model", [album / "b" / "2.jpg", album])[0].label == "dark"


def test_what_a_folder_holds_besides_is_counted_and_named(album: Path) -> None:
    for name in ("notes.txt", "b/more.csv", "b/deep/table.xls", "list.md"):
        (album / name).touch()
    (album / ".hidden").mkdir()
    (album / ".hidden" / "thumb.png").touch()
    (album / "b" / "broken.png").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="left out") as caught:
        answers = ecofed.predict("model", album)
    assert len(answers) == 3
    told = str(caught[0].message)
    assert told.startswith(f"{album}: left out: 4 files are no picture (table.xls, more.csv, list.md, ...); ")
    assert f"1 file is damaged ({album}/b/broken.png: not a picture that can be read" in told


def test_a_folder_without_a_picture_is_refused(album: Path) -> None:
    (album / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no picture in it; formats: \.png"):
        ecofed.predict("model", album / "empty")
    (album / "empty" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"empty: no picture in it: 1 file is damaged \(.*broken\.png: not a picture"):
        ecofed.predict("model", album / "empty")
    with pytest.raises(DataError, match=r"broken\.png: not a picture"):  # what is named itself must be one
        ecofed.predict("model", [album / "b", album / "empty" / "broken.png"])
