"""Pictures are read for a prediction as they are read for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ecofed
from ecofed.errors import DataError
from ecofed.prediction import _read_image


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 127 * 257, np.uint16)).save(tmp_path / "grey.png")
    assert (_read_image(tmp_path / "grey.png", 1, 32) == 127).all()
    assert _read_image(tmp_path / "grey.png", 3, 32).shape == (32, 32, 3)


def test_small_pictures_get_a_border_and_large_ones_are_scaled(tmp_path: Path) -> None:
    Image.new("RGB", (28, 28), (255, 255, 255)).save(tmp_path / "small.png")
    Image.new("RGB", (100, 60), (255, 255, 255)).save(tmp_path / "large.png")
    small, large = (_read_image(tmp_path / name, 1, 32) for name in ("small.png", "large.png"))
    assert (small[2:30, 2:30] == 255).all()
    assert small.sum() == 28 * 28 * 255
    assert (large == 255).all()


@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n" + bytes(40), b"P6 32 32 255 x", b"%!PS-Adobe-3.0 EPSF-3.0"]
)
def test_what_is_no_picture_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png: not a picture that can be read") as error:
        _read_image(tmp_path / "broken.png", 3, 32)
    assert "\n" not in str(error.value)


def test_no_picture_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="give at least one"):
        ecofed.predict("anywhere", [])
