"""Pictures to arrays: sizes, modes, what is kept of the compressed form."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from data_builders import encode, pictures, write_parquet, write_rows
from PIL import Image

from ecofed.data import compressed_sizes, compressed_upload_bytes, images, load_dataset
from ecofed.data import pictures as shown
from ecofed.errors import DataError


def decode(*encoded: bytes) -> images.Decoded:
    return images.decode(lambda: ((f"picture {number}", data) for number, data in enumerate(encoded)))


def saved(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_grey_stays_one_channel_and_28_stays_28() -> None:
    grey = pictures(3, side=28, channels=1)
    decoded = decode(*(encode(image) for image in grey))
    np.testing.assert_array_equal(decoded.images_NHWC, grey)


def test_a_mixture_of_grey_and_colour_is_colour() -> None:
    grey, colour = pictures(1, channels=1)[0], pictures(1)[0]
    decoded = decode(encode(grey), encode(colour))
    np.testing.assert_array_equal(decoded.images_NHWC[0], np.repeat(grey, 3, axis=2))
    np.testing.assert_array_equal(decoded.images_NHWC[1], colour)


@pytest.mark.parametrize("side", [8, 27, 33, 100])
def test_other_sizes_become_32(side: int) -> None:
    flat = np.full((side, side, 3), 77, np.uint8)
    decoded = decode(encode(flat))
    assert decoded.images_NHWC.shape == (1, 32, 32, 3)
    assert (decoded.images_NHWC == 77).all()
    # What such a picture took on disk is not what sending the small one would take.
    assert decoded.compressed_as is None


def test_different_native_sizes_become_32() -> None:
    assert decode(encode(pictures(1, side=28)[0]), encode(pictures(1)[0])).images_NHWC.shape == (2, 32, 32, 3)


def test_other_pixel_modes() -> None:
    palette = Image.fromarray(pictures(1)[0]).convert("P")
    transparent = Image.fromarray(pictures(1, channels=4)[0])
    assert decode(saved(palette)).images_NHWC.shape == (1, 32, 32, 3)
    assert decode(saved(transparent)).images_NHWC.shape == (1, 32, 32, 3)
    bits = Image.fromarray(pictures(1, channels=1)[0, :, :, 0]).convert("1")
    assert set(np.unique(decode(saved(bits)).images_NHWC)) == {0, 255}
    deep = np.full((32, 32), 0x8080, np.uint16)
    decoded = decode(saved(Image.fromarray(deep)))
    assert decoded.images_NHWC.shape == (1, 32, 32, 1)
    assert (decoded.images_NHWC == 0x80).all()


def test_formats_that_start_other_programs_are_not_opened() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n"
    with pytest.raises(DataError, match="not a picture that can be read"):
        decode(postscript)


def test_a_picture_that_promises_too_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="picture 0: 32x32 pixels are more than 1,000"):
        decode(encode(pictures(1)[0]))


def test_jpeg_copies_of_lossless_sets_are_called_so(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cifar10/train.parquet", pictures(3), [0, 1, 9], kind="JPEG")
    write_parquet(tmp_path / "png/cifar10/train.parquet", pictures(3), [0, 1, 9])
    jpeg, png = load_dataset(str(tmp_path / "cifar10")), load_dataset(str(tmp_path / "png/cifar10"))
    assert (jpeg.title, jpeg.compressed_as) == ("CIFAR-10 (JPEG)", "JPEG")
    assert (png.title, png.compressed_as) == ("CIFAR-10", "PNG")
    assert jpeg.classes == png.classes
    assert jpeg.mean == (0.4914, 0.4822, 0.4465)


def test_compressed_sizes_are_those_stored(tmp_path: Path) -> None:
    cells = [encode(image, "JPEG") for image in pictures(4)]
    write_rows(tmp_path / "train.parquet", cells, [0, 1, 2, 3])
    data = load_dataset(str(tmp_path))
    assert compressed_sizes(data, np.array([2, 0])).tolist() == [len(cells[2]), len(cells[0])]
    # All four share their tables: everything before the scan, which follows the SOS marker's 14 bytes.
    header = data.shared_header_bytes
    assert header >= cells[0].index(b"\xff\xda")
    assert all(cell.startswith(cells[0][:header]) for cell in cells)
    assert compressed_upload_bytes(data, np.array([2, 0])) == len(cells[2]) + len(cells[0]) - header
    assert compressed_upload_bytes(data, np.array([], np.int64)) == 0


def test_raw_images_are_priced_as_png(tmp_path: Path) -> None:
    from data_builders import write_idx

    images_NHWC = pictures(2, side=28, channels=1)
    write_idx(tmp_path, "train", images_NHWC[..., 0], np.arange(2))
    data = load_dataset(str(tmp_path))
    expected = [len(encode(image)) for image in images_NHWC]
    assert compressed_sizes(data, np.arange(2)).tolist() == expected
    assert compressed_upload_bytes(data, np.arange(2)) == sum(expected) - 33


def test_splits_of_different_shape_are_brought_together(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", pictures(2, side=28, channels=1), [0, 1])
    write_parquet(tmp_path / "test.parquet", pictures(1), [0])
    data = load_dataset(str(tmp_path))
    assert data.train.images_NHWC.shape == (2, 32, 32, 3)
    assert data.test is not None
    assert data.test.images_NHWC.shape == (1, 32, 32, 3)
