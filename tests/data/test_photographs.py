"""Pictures larger than thumbnails: how they become one size, where they are kept, how a run looks at them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_builders import encode
from PIL import Image

from ecofed.config import Settings
from ecofed.config.network_input import Frame, NetworkInput
from ecofed.config.problem import DataConfig
from ecofed.data import decoded, load_dataset, partition, preparing, require_test
from ecofed.data.images import SIZE, decode
from ecofed.data.jpeg import compress_images, decompress_images
from ecofed.data.partitions import left_out
from ecofed.data.reading import Reading
from ecofed.data.stored import StoredImages, chunks, digest_of, part_of
from ecofed.data.transforms import Views, centre
from ecofed.errors import ConfigError, DataError, WireError
from ecofed.runs.natural import settled

SIDE = 48
FOR_48 = Reading(frame=Frame(image_size=SIDE))


def photograph(height: int, width: int, number: int = 0, *, channels: int = 3) -> np.ndarray:
    """Smooth, and different in every corner."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    planes = [rows, columns, rows * columns][:channels]
    return np.stack([(np.asarray(plane) * 200 + 5 * number).astype(np.uint8) for plane in planes], 2)


def write_folders(place: Path, *, sizes: tuple[tuple[int, int], ...] = ((90, 120), (120, 80), (64, 64))) -> Path:
    """Two classes with the same pictures in training and test."""
    for part in ("train", "test"):
        for label, name in enumerate(("ant", "bee")):
            folder = place / part / name
            folder.mkdir(parents=True)
            for number, (height, width) in enumerate(sizes):
                Image.fromarray(photograph(height, width, number + 3 * label)).save(folder / f"{number}.png")
    return place


class TestGeometry:
    @pytest.mark.parametrize(
        ("height", "width", "side"), [(90, 120, 54), (120, 50, 50), (48, 200, 48), (20, 30, 48), (4000, 3000, 54)]
    )
    def test_the_first_picture_decides_how_much_room_there_is_for_crops(
        self, height: int, width: int, side: int
    ) -> None:
        assert Frame(image_size=SIDE).settled(height, width).sides == (side, side)
        assert Frame().settled(height, width).sides == ()

    @pytest.mark.parametrize(("height", "width"), [(90, 120), (120, 90), (48, 48), (20, 31)])
    def test_the_shorter_side_is_scaled_and_the_middle_taken(self, height: int, width: int) -> None:
        pixels = photograph(height, width)
        images = decode(lambda: iter([("it", encode(pixels))]), FOR_48).images_NHWC
        side = images.shape[1]
        scaled_width, scaled_height = (round(length * side / min(height, width)) for length in (width, height))
        whole = Image.fromarray(pixels).resize((scaled_width, scaled_height), Image.Resampling.BILINEAR)
        top, left = (scaled_height - side) // 2, (scaled_width - side) // 2
        middle = np.asarray(whole)[top : top + side, left : left + side]
        assert np.abs(images[0].astype(int) - middle).max() <= 3

    def test_training_evaluation_and_prediction_see_the_same(self, tmp_path: Path) -> None:
        data = load_dataset(str(write_folders(tmp_path / "set")), how=FOR_48)
        how = NetworkInput(
            in_channels=3, mean=(0.5,) * 3, std=(0.25,) * 3, picture_size=(54, 54), input_size=SIDE, cover=True
        )
        how.check()
        seen = Views(seed=0, device=0, flip=True, crop_to=SIDE)(data.train.images_NHWC[:], np.arange(6), 0)
        np.testing.assert_array_equal(seen, centre(require_test(data).images_NHWC[:], SIDE))
        files = sorted((tmp_path / "set" / "train").rglob("*.png"))
        pixels = np.stack([preparing.picture(str(file), file.read_bytes(), how)[0] for file in files])
        predicted = preparing.tested_input(pixels, how)
        assert predicted.shape == (6, 3, SIDE, SIDE)
        np.testing.assert_allclose(predicted, (seen.transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25, atol=1e-5)

    def test_a_frame_without_room_is_refused(self) -> None:
        how = NetworkInput(in_channels=1, mean=(0.5,), std=(1.0,), picture_size=(40, 40), input_size=SIDE, cover=True)
        with pytest.raises(ValueError, match="needs a 'picture_size' of at least 'input_size' = 48"):
            how.check()


class TestViews:
    VIEWS = Views(seed=3, device=1, flip=True, crop_to=SIDE)

    def test_the_first_is_the_middle_and_every_other_a_crop_of_its_own(self) -> None:
        images = np.stack([photograph(54, 54, number) for number in range(4)])
        np.testing.assert_array_equal(self.VIEWS(images, np.arange(4), 0), images[:, 3:51, 3:51])
        one, two = (self.VIEWS(images, np.arange(4), view) for view in (1, 2))
        assert one.shape == two.shape == (4, SIDE, SIDE, 3)
        assert all((a != b).any() for a, b in zip(one, two, strict=True))

    def test_a_view_of_a_picture_is_the_same_in_any_batch(self) -> None:
        images = np.stack([photograph(54, 54, number) for number in range(6)])
        all_of_them = self.VIEWS(images, np.arange(10, 16), 7)
        np.testing.assert_array_equal(self.VIEWS(images[4:5], np.array([14]), 7)[0], all_of_them[4])

    def test_crops_show_parts_of_many_sizes_and_half_are_mirrored(self) -> None:
        # Brighter to the right: the first row of a crop tells how wide it is, and whether it is mirrored.
        image = np.repeat(np.tile(np.arange(0, 216, 4, dtype=np.uint8), (54, 1))[:, :, None], 3, axis=2)
        crops = self.VIEWS(np.stack([image] * 200), np.arange(200), 1)[:, 0, :, 0].astype(int)
        spans = crops[:, -1] - crops[:, 0]
        assert 70 < (spans < 0).sum() < 130
        assert np.abs(spans).min() > 0.45 * 212
        assert np.abs(spans).max() > 0.9 * 212
        assert not (Views(seed=3, device=1, flip=False, crop_to=SIDE)(image[None], np.arange(1), 1)[0, 0, -1, 0] < 40)

    def test_without_pictures(self) -> None:
        assert self.VIEWS(np.zeros((0, 54, 54, 3), np.uint8), np.arange(0), 1).shape == (0, SIDE, SIDE, 3)


class TestOnTheDisk:
    def test_rows_are_those_of_an_array(self, tmp_path: Path) -> None:
        data = load_dataset(str(write_folders(tmp_path / "set")), how=FOR_48)
        stored = data.train.images_NHWC
        assert isinstance(stored, StoredImages)
        array = np.stack(list(stored))
        assert stored.shape == array.shape == (6, 54, 54, 3)
        for which in (slice(1, 4), np.array([5, 0, 0]), np.array([], np.int64), 2, -1):
            np.testing.assert_array_equal(stored[which], array[which])
        part = part_of(stored, np.array([4, 1]))
        np.testing.assert_array_equal(part[:], array[[4, 1]])
        np.testing.assert_array_equal(part_of(part, np.array([1]))[:], array[[1]])
        assert digest_of(stored) == digest_of(array) != digest_of(part)
        assert [where for where, _ in chunks(stored, 4)] == [slice(0, 4), slice(4, 6)]

    def test_what_was_decoded_serves_again_whoever_asks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = write_folders(tmp_path / "set")
        first = load_dataset(str(place), how=FOR_48)
        monkeypatch.setattr("ecofed.data.formats.folders.decode", None)  # no more decoding
        settled = Reading(white=65535, frame=Frame(sides=(54, 54), image_size=SIDE))
        for how in (FOR_48, settled):
            again = load_dataset(str(place), how=how)
            np.testing.assert_array_equal(again.train.images_NHWC[:], first.train.images_NHWC[:])

    @pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"\0" + content[1:]])
    def test_a_damaged_file_is_made_anew(self, tmp_path: Path, damage: Any) -> None:
        place = write_folders(tmp_path / "set")
        first = load_dataset(str(place), how=FOR_48).test
        (file,) = decoded.cache_folder().glob("decoded/*.test")
        content = file.read_bytes()
        file.unlink()  # who reads it still has it whole
        file.write_bytes(damage(content))
        again = load_dataset(str(place), how=FOR_48).test
        assert first is not None
        assert again is not None
        np.testing.assert_array_equal(again.images_NHWC[:], first.images_NHWC[:])

    def test_where_nothing_can_be_kept_pictures_are_decoded_into_a_temporary_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = write_folders(tmp_path / "set")
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setattr(decoded, "cache_folder", lambda: tmp_path / "file")
        images = load_dataset(str(place), how=FOR_48).train.images_NHWC
        assert isinstance(images, StoredImages)
        np.testing.assert_array_equal(images[0], load_dataset(str(place), how=FOR_48).train.images_NHWC[0])

    def test_colour_after_grey_makes_all_of_them_colour(self) -> None:
        grey, colour = photograph(60, 60, channels=1), photograph(60, 60)
        images = decode(lambda: iter([("a", encode(grey)), ("b", encode(colour))]), FOR_48).images_NHWC
        assert images.shape == (2, 54, 54, 3)
        assert (images[0][..., 0] == images[0][..., 2]).all()
        assert (images[1][..., 0] != images[1][..., 1]).any()

    def test_a_later_picture_of_more_bits_changes_the_earlier_ones(self, tmp_path: Path) -> None:
        deep = [(photograph(60, 60, channels=1)[..., 0].astype(np.uint16) * factor) for factor in (4, 200)]
        for number, levels in enumerate(deep):
            Image.fromarray(levels).save(tmp_path / f"{number}.png")
        cells = [(str(number), (tmp_path / f"{number}.png").read_bytes()) for number in range(2)]
        images = decode(lambda: iter(cells), FOR_48).images_NHWC
        alone = decode(lambda: iter(cells[:1]), FOR_48).images_NHWC
        assert int(images[0].max()) < 10 < int(alone[0].max())

    def test_the_files_as_they_are_are_what_pictures_cost(self, tmp_path: Path) -> None:
        place = write_folders(tmp_path / "set")
        data = load_dataset(str(place), how=FOR_48)
        sizes = [file.stat().st_size for file in sorted((place / "train").rglob("*.png"))]
        assert data.compressed_as == "PNG"
        assert data.compressed_bytes_N is not None
        assert data.compressed_bytes_N.tolist() == sizes
        assert load_dataset(str(place)).compressed_as is None  # resized to thumbnails: another picture


class TestWhoseImage:
    def config(self, **changes: Any) -> DataConfig:
        return DataConfig(partition="column", **{"device_column": "client", **changes})

    def parquet(self, place: Path, clients: list[Any]) -> Path:
        place.mkdir()
        cells = [{"bytes": encode(photograph(60, 60, number)), "path": None} for number in range(len(clients))]
        columns = {"image": cells, "label": [number % 2 for number in range(len(clients))], "client": clients}
        for part in ("train", "test"):
            pq.write_table(pa.table(columns), place / f"{part}.parquet")
        return place

    def parts(self, place: Path, devices: int, **changes: Any) -> list[list[int]]:
        config = self.config(**changes)
        train = load_dataset(str(place), how=Reading(device_column=config.device_column)).train
        found = partition(train.labels_N, devices, config, 0, train.device_N)
        return [sorted(part.tolist()) for part in found]

    def test_a_column_of_a_parquet_file(self, tmp_path: Path) -> None:
        place = self.parquet(tmp_path / "set", ["mon", "fri", "mon", "sat", "fri", "mon"])
        assert self.parts(place, 3) == [[1, 4], [0, 2, 5], [3]]
        assert self.parts(place, 2, least_samples=2) == [[1, 4], [0, 2, 5]]
        assert [len(part) for part in self.parts(place, 3, samples_per_device=2)] == [2, 2, 1]
        with pytest.raises(ConfigError, match="'client' names 3 devices; set devices=3"):
            self.parts(place, 4)
        with pytest.raises(ConfigError, match="names 2 devices with at least 2 images; set devices=2"):
            self.parts(place, 3, least_samples=2)
        with pytest.raises(DataError, match=r"no column 'owner' .data.device_column.; it has image, label, client"):
            self.parts(place, 1, device_column="owner")

    def test_as_many_devices_as_the_data_name(self, tmp_path: Path) -> None:
        place = self.parquet(tmp_path / "set", ["mon", "fri", "mon", "sat", "fri", "mon"])
        words = [f"data.name={place}", "data.partition=column", "data.device_column=client", "devices=auto"]
        config = settled(Settings.load(None, words)).for_method("classic-fl")
        assert (config.devices, config.sampled_devices) == (3, 3)
        few = settled(Settings.load(None, [*words, "data.least_samples=2", "sampled_devices=1"]))
        assert (few.for_method("classic-fl").devices, few.for_method("classic-fl").sampled_devices) == (2, 1)
        with pytest.raises(ConfigError, match="no device has at least 9 images"):
            settled(Settings.load(None, [*words, "data.least_samples=9"]))
        with pytest.raises(ConfigError, match=r"devices = 'auto': needs data\.partition=column"):
            Settings.load(None, ["devices=auto"])
        with pytest.raises(ConfigError, match="devices = 0: must be at least 1"):
            Settings.load(None, [*words, "devices=0"])
        number = Settings.load(None, ["devices=7", "sampled_devices=2"])
        assert settled(number) is number

    def test_devices_that_are_left_out_are_said(self, tmp_path: Path) -> None:
        place = self.parquet(tmp_path / "set", ["mon", "fri", "mon", "sat", "fri", "mon"])
        train = load_dataset(str(place), how=Reading(device_column="client")).train
        said = {
            (devices, least): left_out(
                partition(train.labels_N, devices, config, 0, train.device_N), train.device_N, config
            )
            for devices, least in ((3, 1), (2, 1), (2, 2), (1, 2))
            for config in [self.config(least_samples=least)]
        }
        assert said[3, 1] is None
        assert "1 of 3 devices" in str(said[2, 2])
        assert "fewer than 2 images (data.least_samples)" in str(said[2, 2])
        assert said[2, 1] == (
            "1 of 3 devices that data.device_column = 'client' names are left out, and their images with them (1); "
            "devices=auto takes all"
        )
        assert "1 of 2 devices" in str(said[1, 2])

    def test_test_images_are_of_the_same_devices(self, tmp_path: Path) -> None:
        place, how = (
            self.parquet(tmp_path / "set", ["mon", "fri", "mon", "sat", "fri", "mon"]),
            Reading(device_column="client"),
        )
        table = pq.read_table(place / "test.parquet")
        owners = ["sun", "sat", "mon", "mon", "fri", "sun"]
        pq.write_table(table.set_column(2, "client", pa.array(owners)), place / "test.parquet")
        for _ in ("read", "from the cache"):
            test = load_dataset(str(place), how=how).test
            assert test is not None
            assert test.device_N is not None
            assert test.device_N.tolist() == [-1, 2, 1, 1, 0, -1]
        # Where they do not say it, nobody knows; that is no error.
        for change in (table.drop_columns(["client"]), table.set_column(2, "client", pa.array([None, *owners[1:]]))):
            pq.write_table(change, place / "test.parquet")
            test = load_dataset(str(place), how=how).test
            assert test is not None
            assert test.device_N is None

    def test_numbers_are_in_the_order_of_numbers(self, tmp_path: Path) -> None:
        assert self.parts(self.parquet(tmp_path / "set", [10, 9, 10, 2]), 3) == [[3], [1], [0, 2]]

    def test_an_image_of_nobody_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="row 1: device 'None' is neither a whole number nor a name"):
            self.parts(self.parquet(tmp_path / "set", ["a", None, "b"]), 2)

    def test_a_list_beside_class_folders(self, tmp_path: Path) -> None:
        place = write_folders(tmp_path / "set")
        names = [file.relative_to(place / "train").as_posix() for file in sorted((place / "train").rglob("*.png"))]
        lines = [f"{name},{'xyz'[number % 3]}" for number, name in enumerate(names)]
        notes: list[str] = []
        how = Reading(device_column="client")
        with pytest.raises(DataError, match=r"train\.csv is not there; it needs the columns file and client"):
            load_dataset(str(place), how=how)
        (place / "train.csv").write_text("\n".join(["file,client", *lines]))
        assert self.parts(place, 3) == [[0, 3], [1, 4], [2, 5]]
        tested = sorted((place / "test").rglob("*.png"))
        told = "".join(f"{file.relative_to(place / 'test').as_posix()},y\n" for file in tested)
        (place / "test.csv").write_text(f"file,client\n{told}")
        test = load_dataset(str(place), how=how).test
        assert test is not None
        assert test.device_N is not None
        assert test.device_N.tolist() == [1] * len(tested)
        load_dataset(str(place), how=how, note=notes.append)
        assert notes == []
        (place / "train.csv").write_text("\n".join(["file,client", *lines[1:]]))
        with pytest.raises(DataError, match=r"1 of 6 pictures are not in it, such as ant/0\.png"):
            load_dataset(str(place), how=how)
        for more, wrong in (
            (lines[0], r"line 8: 'ant/0\.png' is the picture of line 2, too"),
            ("ant/9.png,x", "is no pic"),
            (f"../train/{lines[0]}", r"line 8: '\.\./train/ant/0\.png' is no picture in"),
            (lines[0].replace("/", "//"), r"line 8: 'ant//0\.png' is no picture in"),
            ("ant/9.png,x, upstairs", "line 8 has more columns than the first one"),
        ):
            (place / "train.csv").write_text("\n".join(["file,client", *lines, more]))
            with pytest.raises(DataError, match=wrong):
                load_dataset(str(place), how=how)
        for whole, wrong in (
            ("file,client,client\nant/0.png,x,y\n", "more than one column 'client'"),
            ("file,client\nant/0.png,x\nant/1.png,\n", "line 3: nothing in column 'client'"),
        ):
            (place / "train.csv").write_text(whole)
            with pytest.raises(DataError, match=wrong):
                load_dataset(str(place), how=how)
        windows = "".join(f"{line};\n".replace("/", "\\").replace(",", ";") for line in lines)
        (place / "train.csv").write_text(f"file;client;note\n{windows}")
        assert self.parts(place, 3) == [[0, 3], [1, 4], [2, 5]]
        (place / "train.csv").write_text("name,client\n")
        with pytest.raises(DataError, match="no column 'file'; it has name, client"):
            load_dataset(str(place), how=how)

    def test_a_folder_in_a_class_s_folder(self, tmp_path: Path) -> None:
        place = write_folders(tmp_path / "set")
        with pytest.raises(DataError, match="lies in no folder of its class's folder"):
            self.parts(place, 1, device_column="folder")
        for number, file in enumerate(sorted((place / "train").rglob("*.png"))):
            owner = file.parent / ("one", "two")[number % 2]
            owner.mkdir(exist_ok=True)
            file.rename(owner / file.name)
        assert self.parts(place, 2, device_column="folder") == [[0, 1, 3], [2, 4, 5]]

    def test_data_that_cannot_say_it_are_refused(self) -> None:
        with pytest.raises(DataError, match=r"says nowhere whose image it is .data.device_column = 'client'"):
            load_dataset("digits", how=Reading(device_column="client"))

    def test_a_column_needs_a_name(self) -> None:
        with pytest.raises(ConfigError, match=r"data\.device_column = None: must name the column"):
            DataConfig(partition="column")


class TestJpegs:
    IMAGES = np.stack([photograph(SIDE, SIDE, number) for number in range(3)])

    def test_photographs_arrive_at_the_size_of_the_input(self) -> None:
        received = decompress_images(compress_images(self.IMAGES, 90), 3, (SIDE, SIDE), input_size=SIDE)
        assert np.abs(received.astype(int) - self.IMAGES).max() < 20
        small = decompress_images(compress_images(self.IMAGES, 90, 24), 3, (24, 24), input_size=SIDE)
        assert small.shape == self.IMAGES.shape

    def test_none_larger_than_the_input_is_decoded(self) -> None:
        with pytest.raises(WireError, match="48x48 pixels; at most 32x32 are allowed"):
            decompress_images(compress_images(self.IMAGES, 90), 3, input_size=SIZE)

    def test_long_ones_have_longer_lengths(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
        long = compress_images(noise, 100)
        assert long.lengths_N.dtype == np.uint32
        assert compress_images(self.IMAGES, 90).lengths_N.dtype == np.uint16
        np.testing.assert_array_equal(decompress_images(long, 3, input_size=224).shape, noise.shape)
