"""Every layout reads to the same arrays, and malformed files are one clear line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from data_builders import cifar_records, encode, pictures, write_archive, write_idx, write_parquet, write_rows
from PIL import Image

from ecofed.data import load_dataset, require_test
from ecofed.errors import DataError, Notice


def fails(path: Path, *words: str) -> None:
    """Loading fails with one line that holds the words."""
    with pytest.raises(DataError) as caught:
        load_dataset(str(path))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


class TestParquet:
    @pytest.mark.parametrize("columns", [("img", "label"), ("image", "fine_label"), ("image", "labels")])
    @pytest.mark.parametrize(
        "names", ["{}.parquet", "{}-00000-of-00001.parquet", "plain_text/{}-00000-of-00001.parquet"]
    )
    def test_hub_layouts(self, tmp_path: Path, columns: tuple[str, str], names: str) -> None:
        train, test = pictures(7), pictures(2, seed=1)
        write_parquet(tmp_path / "mine" / names.format("train"), train, [3, 5, 9, 3, 5, 9, 3], columns=columns)
        write_parquet(tmp_path / "mine" / names.format("test"), test, [9, 3], columns=columns)
        data = load_dataset(str(tmp_path / "mine"))
        assert data.name == data.title == "mine"
        assert data.place == "path"
        np.testing.assert_array_equal(data.train.images_NHWC, train)
        np.testing.assert_array_equal(require_test(data).images_NHWC, test)
        assert data.classes == ("3", "5", "9")
        assert data.train.labels_N.tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert data.train.labels_N.dtype == np.int64
        assert require_test(data).labels_N.tolist() == [2, 0]
        assert data.mean == data.std == (0.5, 0.5, 0.5)

    def test_shards_are_read_in_order(self, tmp_path: Path) -> None:
        images = pictures(5)
        write_parquet(tmp_path / "train-00000-of-00002.parquet", images[:3], [0, 1, 2])
        write_parquet(tmp_path / "train-00001-of-00002.parquet", images[3:], [0, 1])
        np.testing.assert_array_equal(load_dataset(str(tmp_path)).train.images_NHWC, images)

    def test_class_names_come_from_the_hubs_metadata(self, tmp_path: Path) -> None:
        metadata = {"huggingface": '{"info": {"features": {"label": {"names": ["cat", "dog", "eel"]}}}}'}
        cells = [encode(image) for image in pictures(2)]
        write_rows(tmp_path / "train.parquet", cells, [2, 0], metadata=metadata)
        data = load_dataset(str(tmp_path))
        assert data.classes == ("cat", "dog", "eel")
        assert data.train.labels_N.tolist() == [2, 0]
        write_rows(tmp_path / "train.parquet", cells, [3, 0], metadata=metadata)
        fails(tmp_path, "row 0", "label 3", "3 named classes")

    def test_labels_may_be_text(self, tmp_path: Path) -> None:
        cells = [encode(image) for image in pictures(3)]
        write_rows(tmp_path / "train.parquet", cells, ["dog", "cat", "dog"])
        write_rows(tmp_path / "test.parquet", cells[:1], ["dog"])
        data = load_dataset(str(tmp_path))
        assert data.classes == ("cat", "dog")
        assert data.train.labels_N.tolist() == [1, 0, 1]
        assert require_test(data).labels_N.tolist() == [1]

    def test_a_single_file_is_a_training_split(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "faces.parquet", pictures(2), [0, 1])
        data = load_dataset(str(tmp_path / "faces.parquet"))
        assert data.name == "faces"
        with pytest.raises(DataError, match=r"faces has no test split.*a run needs one"):
            require_test(data)

    def test_malformed_files(self, tmp_path: Path) -> None:
        file = tmp_path / "train.parquet"
        good = encode(pictures(1)[0])
        write_rows(file, [good], [0], columns=("photo", "label"))
        fails(tmp_path, "train.parquet", "no image column", "found photo, label")
        write_rows(file, [good], [0], columns=("img", "colour"))
        fails(tmp_path, "no label column")
        write_rows(file, [good, good, good, good, b"\xff\xd8\xffnonsense"], [0, 1, 2, 3, 4])
        fails(tmp_path, "train.parquet: row 4", "not a picture")
        write_rows(file, [good, good[: len(good) // 2]], [0, 1])
        fails(tmp_path, "row 1", "not a picture")
        write_rows(file, [{"bytes": None, "path": "a.png"}], [0])
        fails(tmp_path, "row 0", "no picture bytes")
        write_rows(file, [good, good], [0, None])
        fails(tmp_path, "row 1", "label None")
        write_rows(file, [good, good], [0.5, 1.5])
        fails(tmp_path, "row 0", "label 0.5")
        file.write_bytes(b"PAR1 and then nothing of the kind")
        fails(tmp_path, "train.parquet", "not a readable parquet file")
        write_rows(file, [], [])
        fails(tmp_path, "no training images")

    def test_two_data_sets_in_one_place(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write_parquet(tmp_path / name / "train.parquet", pictures(1), [0])
        fails(tmp_path, "several data sets", "a, b")


class TestIdx:
    @pytest.mark.parametrize("packed", [True, False])
    def test_mnist_files(self, tmp_path: Path, packed: bool) -> None:
        train, test = pictures(6, side=28, channels=1), pictures(3, side=28, channels=1, seed=1)
        write_idx(tmp_path / "mnist", "train", train[..., 0], np.arange(6), packed=packed)
        write_idx(tmp_path / "mnist", "t10k", test[..., 0], np.arange(3), packed=packed)
        data = load_dataset(str(tmp_path / "mnist"))
        np.testing.assert_array_equal(data.train.images_NHWC, train)
        np.testing.assert_array_equal(require_test(data).images_NHWC, test)
        # The folder's name says which set it is, and what it holds agrees.
        assert data.title == "MNIST"
        assert data.classes == tuple("0123456789")
        assert data.mean == (0.1307,)
        assert not data.flip

    def test_a_folder_that_is_only_called_mnist(self, tmp_path: Path) -> None:
        write_idx(tmp_path / "mnist", "train", pictures(2, side=28, channels=1)[..., 0], np.array([7, 25]))
        data = load_dataset(str(tmp_path / "mnist"))
        assert data.classes == ("7", "25")
        assert data.mean == (0.5,)

    def test_malformed_files(self, tmp_path: Path) -> None:
        images, labels = pictures(3, side=28, channels=1)[..., 0], np.arange(3)
        write_idx(tmp_path, "train", images, labels, packed=False)
        file = tmp_path / "train-images-idx3-ubyte"
        content = file.read_bytes()
        file.write_bytes(content[:-1])
        fails(tmp_path, "promises 2,352 bytes but it holds 2,351")
        file.write_bytes(content + b"x")
        fails(tmp_path, "holds more")
        file.write_bytes(content[:9])
        fails(tmp_path, "not an idx file")
        file.write_bytes(b"\0\0\x0d\x03" + content[4:])
        fails(tmp_path, "not an idx file of unsigned bytes")
        file.write_bytes(content[:4] + b"\xff" * 12)
        fails(tmp_path, "its header promises", "more than")
        file.write_bytes(content)
        write_idx(tmp_path / "other", "train", images[:2], labels[:2], packed=False)
        (tmp_path / "train-labels-idx1-ubyte").write_bytes((tmp_path / "other/train-labels-idx1-ubyte").read_bytes())
        fails(tmp_path, "3 images but 2 labels")
        (tmp_path / "train-labels-idx1-ubyte").unlink()
        fails(tmp_path, "its labels are missing")

    def test_a_truncated_gzip(self, tmp_path: Path) -> None:
        write_idx(tmp_path, "train", pictures(3, side=28, channels=1)[..., 0], np.arange(3))
        file = tmp_path / "train-images-idx3-ubyte.gz"
        file.write_bytes(file.read_bytes()[:-40])
        fails(tmp_path, "train-images-idx3-ubyte.gz", "cannot be read")
        file.write_bytes(b"not gzip at all")
        fails(tmp_path, "cannot be read")
        # A bomb: a few bytes that promise, and would unpack to, far more than images take.
        file.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\x7f\xff\xff\xff" * 3))
        fails(tmp_path, "its header promises")


class TestCifar:
    def cifar10(self, train: np.ndarray, test: np.ndarray, folder: str = "cifar-10-batches-bin/") -> dict[str, bytes]:
        labels = np.arange(10)
        batches = {
            f"{folder}data_batch_{n + 1}.bin": cifar_records(train[2 * n : 2 * n + 2], labels[2 * n : 2 * n + 2])
            for n in range(5)
        }
        return {
            f"{folder}readme.html": b"<html>",
            **batches,
            f"{folder}test_batch.bin": cifar_records(test, labels[:3]),
        }

    def test_cifar10_packed_and_unpacked(self, tmp_path: Path) -> None:
        train, test = pictures(10), pictures(3, seed=1)
        write_archive(tmp_path / "cifar10" / "cifar-10-binary.tar.gz", self.cifar10(train, test))
        unpacked = tmp_path / "unpacked" / "cifar10" / "cifar-10-batches-bin"
        unpacked.mkdir(parents=True)
        for name, content in self.cifar10(train, test, "").items():
            (unpacked / name).write_bytes(content)
        places = [tmp_path / "cifar10", tmp_path / "cifar10" / "cifar-10-binary.tar.gz", unpacked.parent, unpacked]
        for place in places:
            data = load_dataset(str(place))
            np.testing.assert_array_equal(data.train.images_NHWC, train)
            np.testing.assert_array_equal(require_test(data).images_NHWC, test)
            assert data.train.labels_N.tolist() == list(range(10))
            assert data.compressed_as is None
        assert load_dataset(str(tmp_path / "cifar10")).title == "CIFAR-10"

    def test_names_beside_unpacked_files_say_which_class_is_which(self, tmp_path: Path) -> None:
        folder = tmp_path / "cifar10"
        folder.mkdir()
        for name, content in self.cifar10(pictures(10), pictures(3, seed=1), "").items():
            (folder / name).write_bytes(content)
        published = load_dataset(str(folder)).classes
        (folder / "batches.meta.txt").write_text("\n".join([*published, "", ""]))
        assert load_dataset(str(folder)).classes == published
        (folder / "batches.meta.txt").write_text("\n".join(reversed(published)))
        data = load_dataset(str(folder))
        assert data.classes == published[::-1]
        assert data.train.labels_N.tolist() == list(range(10))
        (folder / "batches.meta.txt").write_text("ant\nbee\n")
        fails(folder, "label 9 is outside the 2 named classes; they are ant, bee")
        (folder / "batches.meta.txt").write_text("\n".join([*published[:9], published[0]]))
        fails(folder, f"the classes '{published[0]}' and '{published[0]}' have the same name")
        (folder / "batches.meta.txt").write_bytes(b"\xff\xfea\0")
        fails(folder, "batches.meta.txt: is UTF-16; save it as UTF-8")

    def test_cifar100_has_the_fine_labels(self, tmp_path: Path) -> None:
        train, test = pictures(4), pictures(1, seed=1)
        members = {
            "cifar-100-binary/train.bin": cifar_records(train, np.zeros(4), np.array([99, 0, 50, 7])),
            "cifar-100-binary/test.bin": cifar_records(test, np.zeros(1), np.array([42])),
        }
        write_archive(tmp_path / "cifar100" / "cifar-100-binary.tar.gz", members)
        data = load_dataset(str(tmp_path / "cifar100"))
        assert data.train.labels_N.tolist() == [99, 0, 50, 7]
        assert data.classes[99] == "worm"
        assert len(data.classes) == 100

    def test_pickles_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
        fails(tmp_path, "pickle, which is never opened", "put cifar-10-binary.tar.gz there")

    def test_malformed_archives(self, tmp_path: Path) -> None:
        file = tmp_path / "cifar-10-binary.tar.gz"
        members = self.cifar10(pictures(10), pictures(3))
        write_archive(file, {key: value for key, value in members.items() if "batch_3" not in key})
        fails(tmp_path, "data_batch_3.bin missing")
        write_archive(file, {**members, "cifar-10-batches-bin/data_batch_2.bin": b"x" * 5000})
        fails(tmp_path, "data_batch_2.bin has 5,000 bytes, not a multiple of 3,073")
        write_archive(file, members)
        file.write_bytes(file.read_bytes()[:-2000])
        fails(tmp_path, "cifar-10-binary.tar.gz", "cannot be read")
        file.write_bytes(b"nothing")
        fails(tmp_path, "cannot be read")


class TestFolders:
    def write(self, folder: Path, images_NHWC: np.ndarray, names: list[str], suffix: str = "png") -> None:
        for number, (image, name) in enumerate(zip(images_NHWC, names, strict=True)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / f"{number}.{suffix}").write_bytes(encode(image))

    def test_class_folders(self, tmp_path: Path) -> None:
        images = pictures(4)
        self.write(tmp_path / "train", images, ["ant", "bee", "bee", "cow"])
        self.write(tmp_path / "test", images[:2], ["cow", "bee"], suffix="PNG")
        (tmp_path / "train" / "empty").mkdir()
        (tmp_path / "train" / "ant" / "notes.txt").write_text("not a picture")
        notes: list[str] = []
        data = load_dataset(str(tmp_path), note=notes.append)
        assert notes == [
            f"{tmp_path}/train: without a picture, and so no class: empty",
            f"{tmp_path}: not taken: 1 of kind .txt (train/ant/notes.txt)",
        ]
        assert data.classes == ("ant", "bee", "cow")
        assert data.train.labels_N.tolist() == [0, 1, 1, 2]
        np.testing.assert_array_equal(data.train.images_NHWC, images)
        # A class that the test split lacks shifts nothing: bee is still 1.
        assert require_test(data).labels_N.tolist() == [1, 2]
        np.testing.assert_array_equal(require_test(data).images_NHWC, images[[1, 0]])

    def test_a_class_that_was_never_trained_on(self, tmp_path: Path) -> None:
        self.write(tmp_path / "train", pictures(1), ["ant"])
        self.write(tmp_path / "test", pictures(1), ["bat"])
        fails(tmp_path, "class 'bat' occurs in the test split but not in training")

    def test_a_picture_that_changes_its_folder_changes_its_label(self, tmp_path: Path) -> None:
        self.write(tmp_path / "train", pictures(4), ["ant", "ant", "bee", "bee"])
        assert load_dataset(str(tmp_path)).train.labels_N.tolist() == [0, 0, 1, 1]
        (tmp_path / "train/ant/1.png").rename(tmp_path / "train/bee/1.png")
        assert load_dataset(str(tmp_path)).train.labels_N.tolist() == [0, 1, 1, 1]
        (tmp_path / "train/bee").rename(tmp_path / "train/wasp")
        assert load_dataset(str(tmp_path)).classes == ("ant", "wasp")

    def test_every_format_that_can_be_read_is_taken(self, tmp_path: Path) -> None:
        for number, suffix in enumerate(("png", "jpg", "bmp", "gif", "webp")):
            folder = tmp_path / "train" / f"class{number}"
            folder.mkdir(parents=True)
            Image.fromarray(pictures(1)[0]).save(folder / f"0.{suffix}")
        assert len(load_dataset(str(tmp_path)).classes) == 5

    def test_what_systems_leave_behind_is_no_class_and_no_picture(self, tmp_path: Path) -> None:
        self.write(tmp_path / "train", pictures(2), ["ant", "bee"])
        self.write(tmp_path / "train", pictures(1), [".ipynb_checkpoints"])
        (tmp_path / "train/ant/._0.png").write_bytes(b"not a picture")
        with pytest.warns(Notice, match=r"not taken: 1 hidden \(train/.ipynb_checkpoints\)$"):
            assert load_dataset(str(tmp_path)).classes == ("ant", "bee")

    def test_a_class_without_a_readable_picture_is_not_left_out_in_silence(self, tmp_path: Path) -> None:
        self.write(tmp_path / "train", pictures(2), ["ant", "bee"])
        (tmp_path / "train/cow").mkdir()
        (tmp_path / "train/cow/0.cr2").write_bytes(b"raw")
        fails(tmp_path, "train/cow: no picture in it, 0.cr2 is none", ".png")

    def test_a_broken_picture_is_named(self, tmp_path: Path) -> None:
        self.write(tmp_path / "train", pictures(2), ["ant", "bee"])
        (tmp_path / "train" / "bee" / "1.png").write_bytes(b"\x89PNG")
        fails(tmp_path, "bee/1.png", "not a picture that can be read (of no format that is known)")


def test_nothing_recognisable_names_every_layout(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("no images here")
    fails(tmp_path, "train.parquet and test.parquet", "idx files", "cifar-10-binary.tar.gz", "class folders")
    fails(tmp_path / "gone", "no such file or folder")
