"""A picture is decoded as a viewer shows it: upright, opaque, in its own depth; the same for every file format."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_builders import write_rows
from PIL import Image, ImageOps

from ecofed.data import images, load_dataset, require_test
from ecofed.data.pictures import show
from ecofed.data.reading import Reading
from ecofed.errors import DataError, MissingExtraError

#: Each quarter has its own brightness, and the picture is not square: every turn and mirror image shows.
QUARTERS = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((16, 24), np.uint8))
#: What a camera that was held so writes for a picture that is QUARTERS when it is upright.
AS_STORED = {
    1: QUARTERS,
    2: QUARTERS[:, ::-1],
    3: QUARTERS[::-1, ::-1],
    4: QUARTERS[::-1],
    5: QUARTERS.T,
    6: np.rot90(QUARTERS),
    7: QUARTERS[::-1, ::-1].T,
    8: np.rot90(QUARTERS, -1),
}


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(image))).save(
        buffer, kind, **options
    )
    return buffer.getvalue()


def pixels(data: bytes, white: int | None = None) -> np.ndarray:
    """What is shown; (H, W) where it is grey."""
    shown = show("picture", data, white).pixels_HWC
    return shown[..., 0] if shown.shape[2] == 1 else shown


def oriented(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def png16(values_HWC: np.ndarray, colour_type: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write in colour. ``extra``: the content of a tRNS chunk."""
    height, width = values_HWC.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values_HWC)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    transparency = chunk(b"tRNS", extra) if extra else b""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparency + chunk(b"IDAT", zlib.compress(rows))) + chunk(
        b"IEND", b""
    )


class TestUpright:
    @pytest.mark.parametrize("number", AS_STORED)
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
    def test_every_orientation_in_every_format(self, kind: str, number: int) -> None:
        options = {"save_all": True, "append_images": [Image.new("L", (9, 9))]} if kind == "MPO" else {}
        data = saved(AS_STORED[number], kind, exif=oriented(number), **options)
        shown = pixels(data)
        grey = shown if shown.ndim == 2 else shown[..., 0]
        assert grey.shape == QUARTERS.shape
        # Within the quarters: codecs blur the edges between them.
        np.testing.assert_allclose(grey[4::8, 4::8].astype(int), QUARTERS[4::8, 4::8].astype(int), atol=6)

    def test_heic_turns_by_itself_and_not_twice(self) -> None:
        """Its own boxes say how it is turned, the decoder has done so; what stands in EXIF is for information."""
        import pillow_heif

        pillow_heif.register_heif_opener()
        np.testing.assert_allclose(pixels(saved(QUARTERS, "HEIF", exif=oriented(6))), QUARTERS, atol=6)

    def test_deep_and_transparent_pictures_turn_too(self) -> None:
        deep = saved(AS_STORED[6].astype(np.uint16) * 257, exif=oriented(6))
        np.testing.assert_array_equal(pixels(deep), QUARTERS)
        opaque = np.stack([AS_STORED[8]] * 3 + [np.full_like(AS_STORED[8], 255)], axis=2)
        np.testing.assert_array_equal(pixels(saved(opaque, exif=oriented(8)))[..., 1], QUARTERS)

    def test_an_orientation_in_xmp_counts(self) -> None:
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="3"/></x:xmpmeta>'
        data = saved(AS_STORED[3], "JPEG", xmp=xmp, quality=95)
        np.testing.assert_allclose(pixels(data)[4::8, 4::8].astype(int), QUARTERS[4::8, 4::8].astype(int), atol=3)

    @pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\xff", oriented(9).tobytes()])
    def test_what_makes_no_sense_is_ignored_as_viewers_do(self, exif: bytes) -> None:
        assert pixels(saved(QUARTERS, "JPEG", exif=exif)).shape == QUARTERS.shape

    def test_rows_of_parquet_and_files_in_folders_are_upright(self, tmp_path: Path) -> None:
        upright, lying = QUARTERS[:, 8:40], AS_STORED[6][8:40]
        write_rows(tmp_path / "rows/train.parquet", [saved(lying, exif=oriented(6)), saved(upright)], [0, 1])
        for part in ("train", "test"):
            (tmp_path / "folder" / part / "a").mkdir(parents=True)
            (tmp_path / "folder" / part / "a/1.png").write_bytes(saved(lying, exif=oriented(6)))
        for name in ("rows", "folder"):
            assert (load_dataset(str(tmp_path / name)).train.images_NHWC[..., 0] == upright).all()


class TestOpaque:
    """A black shape on a transparent ground: the ground is white, and its hidden colour plays no role."""

    SHAPE = np.kron(np.eye(2, dtype=np.uint8), np.full((16, 16), 255, np.uint8))
    SHOWN = 255 - SHAPE

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_a_channel_of_opacity(self, mode: str, kind: str) -> None:
        black = Image.new("L", (32, 32), 0)
        image = Image.merge("LA", (black, Image.fromarray(self.SHAPE))).convert("RGBA").convert(mode)
        options = {"lossless": True} if kind == "WEBP" else {}
        if mode == "PA" and kind == "PNG":
            image = image.convert("RGBA").quantize(4)
        shown = pixels(saved(image, kind, **options))
        assert (shown.ndim == 2) == (mode == "LA" and kind != "WEBP")
        np.testing.assert_array_equal(shown if shown.ndim == 2 else shown[..., 2], self.SHOWN)

    def test_half_opaque_is_half_white(self) -> None:
        image = np.zeros((32, 32, 4), np.uint8)
        image[..., 0], image[..., 3] = 200, 51
        assert pixels(saved(image))[0, 0].tolist() == [244, 204, 204]

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_one_colour_of_a_palette(self, kind: str) -> None:
        image = Image.fromarray(self.SHAPE // 255, "P")
        image.putpalette([0, 0, 0, 10, 20, 30])
        shown = pixels(saved(image, kind, transparency=0))
        np.testing.assert_array_equal(shown[0, 0], [10, 20, 30])
        np.testing.assert_array_equal(shown[0, 31], [255, 255, 255])

    def test_an_opacity_for_each_colour_of_a_palette(self) -> None:
        image = Image.fromarray(self.SHAPE // 255, "P")
        image.putpalette([0, 0, 0, 100, 0, 0])
        shown = pixels(saved(image, transparency=bytes([0, 102])))
        np.testing.assert_array_equal(shown[0, 31], [255, 255, 255])
        np.testing.assert_array_equal(shown[0, 0], [193, 153, 153])

    @pytest.mark.parametrize("mode", ["L", "RGB", "1"])
    def test_a_colour_that_counts_as_transparent(self, mode: str) -> None:
        image = Image.fromarray(self.SHAPE).convert(mode)
        key = (0, 0, 0) if mode == "RGB" else 0
        assert (pixels(saved(image, transparency=key)) == 255).all()

    def test_opaque_pictures_are_unchanged(self) -> None:
        colours = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
        colours[..., 3] = 255
        np.testing.assert_array_equal(pixels(saved(colours)), colours[..., :3])

    def test_animations_show_their_first_frame(self) -> None:
        frames = [Image.new("L", (32, 32), level) for level in (40, 200)]
        for kind in ("GIF", "WEBP", "PNG"):
            options = {"lossless": True} if kind == "WEBP" else {}
            data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
            assert (pixels(data) == 40).all(), kind


class TestDepth:
    RAMP = np.arange(1024, dtype=np.uint16).reshape(32, 32)

    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    def test_the_largest_number_of_the_set_decides(self, bits: int) -> None:
        white = 2**bits - 1
        scale = (white - 1) / 1023
        dark, bright = (self.RAMP * scale / 8).astype(np.uint16), np.rint(self.RAMP * scale).astype(np.uint16)
        decoded = images.decode(lambda: [("dark", saved(dark)), ("bright", saved(bright)), ("dark", saved(dark))])
        assert decoded.white == white
        expected = [np.rint(values * (255 / white)) for values in (dark, bright, dark)]
        np.testing.assert_array_equal(decoded.images_NHWC[..., 0], np.array(expected, np.uint8))

    def test_ten_bits_keep_their_levels(self) -> None:
        assert len(np.unique(pixels(saved(self.RAMP)))) == 256

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_test_pictures_and_devices_use_the_level_of_training(self, kind: str, tmp_path: Path) -> None:
        suffix = kind.lower()
        for part, most in (("train", 4000), ("test", 1000)):
            (tmp_path / "set" / part / "a").mkdir(parents=True)
            image = np.full((32, 32), most, np.uint16)
            (tmp_path / "set" / part / f"a/1.{suffix}").write_bytes(saved(image, kind))
        data = load_dataset(str(tmp_path / "set"), note=lambda _: None)
        assert data.white == 4095
        assert int(data.train.images_NHWC.max()) == 249
        assert int(require_test(data).images_NHWC.max()) == 62
        for _ in range(2):  # read, and read again from the cache
            notes: list[str] = []
            dark = load_dataset(str(tmp_path / "set"), how=Reading(white=65535), note=notes.append)
            assert int(dark.train.images_NHWC.max()) == 16
            # Nearly black pictures are not taken in silence: the second part's need even less of the same level.
            assert [text.partition(" here, so they are shown dark")[0] for text in notes] == [
                f"set: the {part} pictures hold numbers up to {most} and white is 65,535"
                for part, most in (("training", "4,095"), ("test", "1,023"))
            ]
            notes.clear()
            bright = load_dataset(str(tmp_path / "set"), how=Reading(white=1023), note=notes.append)
            assert int(bright.train.images_NHWC.max()) == 255
            assert notes == [
                "set: 1 of 1 training pictures hold numbers above 1,023, which is white in the training pictures; "
                "they are white there",
            ]
            load_dataset(str(tmp_path / "set"), how=Reading(white=4095), note=lambda _: None)

    @pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
    def test_all_sixteen_bits_of_every_kind_of_png_count(self, colour_type: int, channels: int) -> None:
        values = np.random.default_rng(1).integers(0, 4096, (32, 32, channels), np.uint16)
        values[0, 0] = 4095
        if channels in (2, 4):
            values[..., -1] = 65535
        colours = channels - (channels in (2, 4))
        expected = np.rint(values[..., :colours] * (255 / 4095))
        np.testing.assert_array_equal(show("p", png16(values, colour_type)).pixels_HWC, expected)

    def test_deep_pictures_may_be_transparent(self) -> None:
        values = np.full((4, 4, 2), 1000, np.uint16)
        values[..., 1] = 0
        assert (pixels(png16(values, 4)) == 255).all()
        grey = np.full((4, 4, 1), 1000, np.uint16)
        grey[0] = 7
        shown = pixels(png16(grey, 0, struct.pack(">H", 7)))
        assert (shown[0] == 255).all()
        assert (shown[1:] == 249).all()
        colour = np.full((4, 4, 3), 1000, np.uint16)
        colour[0] = (1, 2, 3)
        shown = pixels(png16(colour, 2, struct.pack(">HHH", 1, 2, 3)))
        assert (shown[0] == 255).all()
        assert (shown[1:] == 249).all()

    @pytest.mark.parametrize("order", ["<u2", ">u2"])
    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
    def test_tiff_in_both_byte_orders(self, order: str, compression: str | None) -> None:
        data = saved(Image.fromarray((self.RAMP * 4).astype(order)), "TIFF", compression=compression)
        np.testing.assert_array_equal(pixels(data), np.rint(self.RAMP * 4 * (255 / 4095)))

    def test_fractions_of_one(self) -> None:
        levels = np.linspace(0, 1, 1024, dtype=np.float32).reshape(32, 32)
        np.testing.assert_array_equal(pixels(saved(levels, "TIFF")), np.rint(levels * 255))
        assert show("p", saved(levels, "TIFF")).needs == 1
        both = [("a.tif", saved(levels, "TIFF")), ("b.tif", saved(self.RAMP, "TIFF"))]
        for order in (both, both[::-1]):
            with pytest.raises(
                DataError, match=r"holds (fractions of one, but white is 1023|numbers up to 1023, but white is 1 )"
            ):
                images.decode(lambda order=order: order)  # type: ignore[misc]
        with pytest.raises(DataError, match=r"new: holds fractions of one, but white is 4095"):
            show("new", saved(levels, "TIFF"), 4095)

    def test_whole_numbers_of_32_bits(self) -> None:
        assert (pixels(saved(np.full((32, 32), 70_000, np.int32), "TIFF")) == round(70_000 / (2**24 - 1) * 255)).all()
        assert (pixels(saved(np.full((32, 32), 200, np.int32), "TIFF")) == 200).all()

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (np.full((32, 32), np.nan, np.float32), "numbers that are not finite"),
            (np.full((32, 32), np.inf, np.float32), "numbers that are not finite"),
            (np.full((32, 32), -1, np.int32), "negative numbers"),
            (np.full((32, 32), -0.5, np.float32), "negative numbers"),
            (np.full((32, 32), 1e20, np.float32), "numbers above"),
        ],
    )
    def test_numbers_that_are_no_brightness_are_refused(self, values: np.ndarray, reason: str) -> None:
        with pytest.raises(DataError, match=f"scan: holds {reason}"):
            show("scan", saved(values, "TIFF"))

    def test_black_needs_nothing(self) -> None:
        black, full = saved(np.zeros((32, 32), np.uint16)), saved(np.full((32, 32), 65535, np.uint16))
        assert images.decode(lambda: [("black", black)]).white == 0
        assert images.decode(lambda: [("black", black), ("full", full)]).images_NHWC[1].min() == 255


class TestModes:
    def test_the_inks_of_a_printer(self) -> None:
        """Adobe's JPEGs hold CMYK inverted; the decoder knows."""
        image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
        for kind in ("JPEG", "TIFF"):
            np.testing.assert_allclose(pixels(saved(image, kind))[16, 16].astype(int), [255, 0, 0], atol=4)

    def test_one_bit_and_palettes(self) -> None:
        bits = Image.fromarray(QUARTERS).convert("1")
        assert np.unique(pixels(saved(bits))).tolist() == [0, 255]
        assert np.unique(pixels(saved(bits, "TIFF", compression="group4"))).tolist() == [0, 255]
        palette = ImageOps.posterize(Image.fromarray(QUARTERS).convert("RGB"), 2).convert("P")
        assert pixels(saved(palette)).shape == (32, 48, 3)

    @pytest.mark.parametrize(("kind", "suffix"), [("JPEG2000", "jp2"), ("PPM", "pgm"), ("BMP", "bmp"), ("DIB", "dib")])
    def test_other_formats(self, kind: str, suffix: str, tmp_path: Path) -> None:
        place = tmp_path / "set/train/a"
        place.mkdir(parents=True)
        (place / f"1.{suffix}").write_bytes(saved(QUARTERS[:, 8:40], kind))
        np.testing.assert_array_equal(
            load_dataset(str(tmp_path / "set")).train.images_NHWC[0, ..., 0], QUARTERS[:, 8:40]
        )

    def test_an_empty_file_is_said_to_be_empty(self) -> None:
        with pytest.raises(DataError, match=r"^cat\.png: not a picture that can be read \(the file is empty\)$"):
            show("cat.png", b"")

    def test_heic_without_its_reader_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pillow_heif

        pillow_heif.register_heif_opener()
        data = saved(QUARTERS, "HEIF")
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(MissingExtraError, match=r"reading IMG_1\.HEIC needs the package 'pillow-heif': .*heic"):
            show("IMG_1.HEIC", data)
