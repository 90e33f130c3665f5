"""What lies in a data folder is taken, counted in a note, or refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_builders import cifar_records, encode, pictures, write_archive, write_idx, write_parquet, write_rows
from PIL import Image

from ecofed.data import Dataset, load_dataset, require_test
from ecofed.errors import DataError, MissingExtraError, Notice


def loaded(path: Path) -> tuple[Dataset, str]:
    """A data set, and its notes as one text."""
    notes: list[str] = []
    dataset = load_dataset(str(path), note=notes.append)
    return dataset, "\n".join(notes)


def class_folders(folder: Path, *, each: int = 2) -> Path:
    for part in ("train", "test"):
        for number, name in enumerate(("ant", "bee")):
            (folder / part / name).mkdir(parents=True)
            for at, image in enumerate(pictures(each, seed=number)):
                (folder / part / name / f"{at}.png").write_bytes(encode(image))
    return folder


def put(file: Path, content: bytes = b"x") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def a_picture(file: Path, seed: int = 7) -> Path:
    return put(file, encode(pictures(1, seed=seed)[0]))


class TestFolders:
    def test_what_is_all_taken_needs_no_word(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        for name in ("README.txt", "LICENSE", "card.md", ".DS_Store", "train/Thumbs.db", "train/ant/._0.png"):
            put(tmp_path / name)
        dataset, notes = loaded(tmp_path)
        assert (len(dataset.train), notes) == (4, "")

    def test_pictures_in_folders_of_a_class_folder_are_of_the_class(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        a_picture(tmp_path / "train/bee/2024/may/9.png")
        a_picture(tmp_path / "train/cow/front/9.png")
        dataset, notes = loaded(tmp_path)
        assert dataset.classes == ("ant", "bee", "cow")
        assert np.bincount(dataset.train.labels_N).tolist() == [2, 3, 1]
        assert "train: 2 pictures lie in folders of their class's folder (bee/2024/may/9.png)" in notes

    def test_classes_one_level_too_deep_are_refused(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "set/train")
        shutil.move(tmp_path / "set/train/test", tmp_path / "set/other")
        with pytest.raises(DataError, match=r"one class folder only, 'train', with folders in it \(ant, bee\); if"):
            loaded(tmp_path / "set")

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("train/0.png", "1 pictures in no class folder (train/0.png)"),
            ("0.png", "1 pictures in no class folder (0.png)"),
            ("val/ant/0.png", "1 in val/, which is not read (val/ant/0.png)"),
            ("extra/0.png", "1 in extra/, which is not read"),
            ("train/ant/0.nef", "1 of kind .nef (train/ant/0.nef)"),
            ("train/ant/0.svg", "1 of kind .svg"),
            ("train/ant/picture", "1 of unknown kind (train/ant/picture)"),
            ("train/ant/.0.png", "1 hidden (train/ant/.0.png)"),
            ("train/.ipynb_checkpoints/0.png", "1 hidden (train/.ipynb_checkpoints)"),
            ("train.zip", "1 of kind .zip (train.zip)"),
            ("labels.csv", "1 of kind .csv (labels.csv)"),
            ("train/ant/0.parquet", "1 of kind .parquet"),
        ],
    )
    def test_what_is_not_taken_is_counted(self, tmp_path: Path, name: str, said: str) -> None:
        class_folders(tmp_path)
        a_picture(tmp_path / name)
        dataset, notes = loaded(tmp_path)
        assert len(dataset.train) == 4
        assert f"{tmp_path}: not taken: {said}" in notes

    def test_many_are_counted_and_some_named(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        for number in range(1200):
            put(tmp_path / f"train/ant/{number:04d}.nef")
        put(tmp_path / "train/bee/\x1b[31m.raw")
        _, notes = loaded(tmp_path)
        assert "1,200 of kind .nef (train/ant/0000.nef, train/ant/0001.nef, train/ant/0002.nef, ...)" in notes
        assert "\x1b" not in notes

    def test_a_class_folder_that_is_empty_is_said(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        (tmp_path / "train/cow").mkdir()
        dataset, notes = loaded(tmp_path)
        assert dataset.classes == ("ant", "bee")
        assert "train: without a picture, and so no class: cow" in notes

    @pytest.mark.parametrize("name", ["0.HEIC", "0.tif", "0.TIFF", "0.avif", "0.JPG", "0.jp2", "0.ppm"])
    def test_pictures_of_other_kinds_are_taken(self, tmp_path: Path, name: str) -> None:
        import pillow_heif

        pillow_heif.register_heif_opener()
        class_folders(tmp_path)
        grey = Image.new("RGB", (32, 32), (90, 90, 90))
        grey.save(put(tmp_path / "train/cow" / name), "HEIF" if name.endswith("HEIC") else None)
        dataset, notes = loaded(tmp_path)
        assert notes == ""
        assert np.abs(dataset.train.images_NHWC[dataset.train.labels_N == 2].astype(int) - 90).max() <= 1

    def test_a_heic_picture_without_its_plugin_is_refused_with_the_cure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class_folders(tmp_path)
        put(tmp_path / "train/ant/9.heic", b"\0\0\0\x18ftypheic\0\0\0\0")
        monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
        with pytest.raises(MissingExtraError, match=r"9\.heic needs the package 'pillow-heif'.*heic"):
            loaded(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
    def test_a_damaged_picture_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        class_folders(tmp_path)
        put(tmp_path / "train/bee/broken.png", content)
        with pytest.raises(DataError, match=r"bee/broken\.png: not a picture that can be read"):
            loaded(tmp_path)

    def test_links(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "set")
        a_picture(tmp_path / "elsewhere/cow/1.png")
        put(tmp_path / "elsewhere/cow/2.cr2")
        os.symlink(tmp_path / "elsewhere/cow", tmp_path / "set/train/cow")
        os.symlink(tmp_path / "gone.png", tmp_path / "set/train/ant/9.png")
        dataset, notes = loaded(tmp_path / "set")
        assert np.bincount(dataset.train.labels_N).tolist() == [2, 2, 1]
        assert "1 broken links (train/ant/9.png); 1 of kind .cr2 (train/cow/2.cr2)" in notes
        os.symlink(tmp_path / "set/train", tmp_path / "set/train/ant/again")
        with pytest.raises(DataError, match=r"ant/again: links to a folder that it lies in"):
            loaded(tmp_path / "set")

    @pytest.mark.parametrize("target", ["..", "../..", ".", "../../train"])
    def test_the_link_that_leads_back_is_named_not_the_folder_that_it_leads_to(
        self, tmp_path: Path, target: str
    ) -> None:
        class_folders(tmp_path)
        link = tmp_path / "train/ant/up"
        os.symlink(target, link)
        with pytest.raises(DataError) as failure:
            loaded(tmp_path)
        assert str(failure.value) == f"{link}: links to a folder that it lies in; remove the link"
        link.unlink()  # which is what the message asks for
        assert loaded(tmp_path)[0].classes == ("ant", "bee")

    def test_of_two_links_that_lead_to_each_other_one_is_named(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        os.symlink("../bee", tmp_path / "train/ant/one")
        os.symlink("../ant", tmp_path / "train/bee/other")
        with pytest.raises(DataError, match=r"train/ant/one/other: links to a folder that it lies in"):
            loaded(tmp_path)

    @pytest.mark.parametrize("name", ["val", "valid", "Validation"])
    def test_a_validation_split_stands_in_for_a_test_split(self, tmp_path: Path, name: str) -> None:
        class_folders(tmp_path)
        (tmp_path / "test").rename(tmp_path / name)
        dataset, notes = loaded(tmp_path)
        assert len(require_test(dataset)) == 4
        assert f"there is no test split: '{name}' is what is tested on" in notes

    def test_names_of_splits_in_other_letters(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        (tmp_path / "train").rename(tmp_path / "Train")
        (tmp_path / "test").rename(tmp_path / "TEST")
        dataset, notes = loaded(tmp_path)
        assert (len(dataset.train), len(require_test(dataset)), notes) == (4, 4, "")
        (tmp_path / "train").mkdir()
        with pytest.raises(DataError, match="holds Train and train; keep one of them"):
            loaded(tmp_path)

    def test_several_pictures_in_one_file(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        frames = [Image.new("L", (32, 32), level) for level in (40, 200)]
        for kind in ("gif", "tif"):
            frames[0].save(tmp_path / f"train/ant/9.{kind}", save_all=True, append_images=frames[1:])
        for _ in range(2):  # read, and read again from the cache
            _, notes = loaded(tmp_path)
            assert "2 of 6 training files hold several pictures (frames or pages); the first of each is taken" in notes

    def test_by_default_a_note_is_a_warning(self, tmp_path: Path) -> None:
        a_picture(class_folders(tmp_path) / "train/0.png")
        with pytest.warns(Notice, match="1 pictures in no class folder"):
            load_dataset(str(tmp_path))


class TestShards:
    def write(self, folder: Path, *names: str, seed: int = 0) -> None:
        for at, name in enumerate(names):
            write_parquet(folder / name, pictures(2, seed=seed + at), [at % 2, (at + 1) % 2])

    def shards(self, folder: Path, count: int, split: str = "train") -> None:
        self.write(folder, *(f"{split}-{number:05d}-of-{count:05d}.parquet" for number in range(count)))

    def test_all_shards_in_their_order(self, tmp_path: Path) -> None:
        self.shards(tmp_path, 3)
        dataset, notes = loaded(tmp_path)
        expected = np.concatenate([pictures(2, seed=seed) for seed in range(3)])
        np.testing.assert_array_equal(dataset.train.images_NHWC, expected)
        assert notes == ""

    @pytest.mark.parametrize(("gone", "named"), [((1,), "00001"), ((0, 2), "00000, 00002"), ((3,), "00003")])
    def test_a_missing_shard_is_refused(self, tmp_path: Path, gone: tuple[int, ...], named: str) -> None:
        self.shards(tmp_path, 4)
        for number in gone:
            (tmp_path / f"train-{number:05d}-of-00004.parquet").unlink()
        with pytest.raises(DataError, match=f"shard {named} of 00004 is missing"):
            loaded(tmp_path)

    def test_a_missing_shard_of_the_test_split_too(self, tmp_path: Path) -> None:
        self.shards(tmp_path / "data", 1)
        self.shards(tmp_path / "data", 2, "test")
        (tmp_path / "data/test-00000-of-00002.parquet").unlink()
        with pytest.raises(DataError, match="data: shard 00000 of 00002 is missing"):
            loaded(tmp_path)

    @pytest.mark.parametrize(
        "second", ["train.parquet", "Train-00000-of-00001.parquet", "train-00000-of-00001.parquet"]
    )
    def test_the_same_split_twice_is_refused(self, tmp_path: Path, second: str) -> None:
        self.shards(tmp_path, 2)
        self.write(tmp_path, second)
        with pytest.raises(DataError, match=r"holds (one split more than once|Train and train)"):
            loaded(tmp_path)

    def test_the_same_shard_twice_is_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path, "train-00000-of-00001-0a1b.parquet", "train-00000-of-00001.parquet")
        with pytest.raises(DataError, match="one split more than once"):
            loaded(tmp_path)

    def test_once_here_and_once_in_a_folder_is_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path, "train.parquet", "data/train-00000-of-00001.parquet")
        with pytest.raises(DataError, match=r"several data sets in one place \(\., data\)"):
            loaded(tmp_path)

    def test_the_names_of_older_sets(self, tmp_path: Path) -> None:
        self.write(tmp_path, "train-00000-of-00002-0a1b2c.parquet", "train-00001-of-00002-3d4e5f.parquet")
        self.write(tmp_path, "validation-00000-of-00001-77.parquet")
        dataset, notes = loaded(tmp_path)
        assert (len(dataset.train), len(require_test(dataset))) == (4, 2)
        assert "there is no test split: 'validation' is what is tested on" in notes

    def test_one_shard_of_several_by_its_own_name(self, tmp_path: Path) -> None:
        self.shards(tmp_path, 3)
        with pytest.raises(DataError, match="is one of 3 shards; name the folder that holds all of them"):
            loaded(tmp_path / "train-00000-of-00003.parquet")

    def test_other_files_beside_them_are_counted(self, tmp_path: Path) -> None:
        self.shards(tmp_path, 1)
        self.write(tmp_path, "extra.parquet", "train_more.parquet")
        a_picture(tmp_path / "photos/1.jpg")
        _, notes = loaded(tmp_path)
        assert "1 in photos/, which is not read (photos/1.jpg); 2 of kind .parquet (extra.parquet, train_more" in notes

    @pytest.mark.parametrize("cells", [([None], [0]), ([b"picture"], [None])])
    def test_a_row_without_picture_or_label_is_refused(self, tmp_path: Path, cells: tuple[list[object], ...]) -> None:
        images = [encode(pictures(1)[0]), *cells[0]] if cells[0] == [None] else [encode(pictures(1)[0])] * 2
        write_rows(tmp_path / "train.parquet", images, [0, *cells[1]])
        with pytest.raises(DataError, match=r"train\.parquet: row 1: "):
            loaded(tmp_path)


class TestClassLists:
    def test_names_for_numbers(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "train.parquet", pictures(3), [2, 0, 2])
        put(tmp_path / "classes.txt", b"ant\nbee\r\ncow\n")
        dataset, notes = loaded(tmp_path)
        assert (dataset.classes, dataset.train.labels_N.tolist(), notes) == (("ant", "bee", "cow"), [2, 0, 2], "")
        put(tmp_path / "classes.txt", b"ant\ncow\nbee\n")
        assert loaded(tmp_path)[0].classes == ("ant", "cow", "bee")  # and not those of the cache

    def test_too_few_names_are_refused(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "train.parquet", pictures(3), [2, 0, 2])
        put(tmp_path / "classes.txt", b"ant\nbee\n")
        with pytest.raises(DataError, match=r"classes\.txt: 2 names; the labels are 0\.\.2"):
            loaded(tmp_path)

    def test_names_that_are_not_those_of_the_data_are_refused(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "train.parquet", pictures(2), ["ant", "bee"])
        put(tmp_path / "classes.txt", b"ant\nwasp\n")
        with pytest.raises(DataError, match="ant, wasp; the data's own classes are ant, bee"):
            loaded(tmp_path)


class TestOneLayout:
    def test_two_layouts_in_one_folder_are_refused(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        write_parquet(tmp_path / "train.parquet", pictures(2), [0, 1])
        with pytest.raises(DataError, match=r"more than one data set: train\.parquet .* and train/ant/0\.png"):
            loaded(tmp_path)

    def test_a_broken_layout_beside_a_whole_one_is_counted(self, tmp_path: Path) -> None:
        write_parquet(tmp_path / "train.parquet", pictures(2), [0, 1])
        put(tmp_path / "cifar-10-python.tar.gz")
        _, notes = loaded(tmp_path)
        assert "1 of kind .gz (cifar-10-python.tar.gz)" in notes

    def test_beside_idx_files(self, tmp_path: Path) -> None:
        for packed in (True, False):
            write_idx(tmp_path, "train", pictures(2, side=28, channels=1)[..., 0], np.array([0, 1]), packed=packed)
        _, notes = loaded(tmp_path)
        assert "2 of unknown kind (train-images-idx3-ubyte, train-labels-idx1-ubyte)" in notes

    def test_beside_cifar(self, tmp_path: Path) -> None:
        records = cifar_records(pictures(2), np.array([0, 1]))
        names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
        for name in names:
            put(tmp_path / "cifar-10-batches-bin" / name, records)
        put(tmp_path / "cifar-10-batches-bin/batches.meta.txt", "\n".join("abcdefghij").encode())
        assert loaded(tmp_path)[1] == ""
        put(tmp_path / "cifar-10-batches-bin/data_batch_6.bin", records)
        assert "1 of kind .bin (cifar-10-batches-bin/data_batch_6.bin)" in loaded(tmp_path)[1]
        write_archive(tmp_path / "cifar-10-binary.tar.gz", {f"cifar-10-batches-bin/{name}": records for name in names})
        assert "8 in cifar-10-batches-bin/, which is not read" in loaded(tmp_path)[1]

    @pytest.mark.parametrize(
        ("name", "said"),
        [("ant/0.csv", "found ant"), ("train.zip", "unpack train.zip first"), ("train/0.png", "found train")],
    )
    def test_where_nothing_is_found_what_is_there_is_said(self, tmp_path: Path, name: str, said: str) -> None:
        put(tmp_path / name)
        with pytest.raises(DataError, match=f"holds no data set; .*{said}"):
            loaded(tmp_path)

    def test_pictures_without_folders_are_told_how_to_be_sorted(self, tmp_path: Path) -> None:
        put(tmp_path / "cat" / "0.JPG")
        put(tmp_path / "cat" / "1.png")
        with pytest.raises(DataError, match=r"holds pictures \(0.JPG, ...\), and neither .*cat/CLASS/.* folder above"):
            loaded(tmp_path / "cat")


class TestCache:
    def test_a_hit_checks_and_tells_all_the_same(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        assert loaded(tmp_path)[1] == ""
        a_picture(tmp_path / "train/0.png")
        assert "1 pictures in no class folder" in loaded(tmp_path)[1]
        put(tmp_path / "train/cow/0.cr2")
        with pytest.raises(DataError, match="train/cow: no picture in it"):
            loaded(tmp_path)

    def test_replaced_files_of_the_same_name_size_and_time(self, tmp_path: Path) -> None:
        class_folders(tmp_path)
        file = tmp_path / "train/ant/0.bmp"
        for level in (10, 200):
            Image.new("L", (32, 32), level).save(file)
            os.utime(file, (1_700_000_000, 1_700_000_000))
            assert (loaded(tmp_path)[0].train.images_NHWC == level).all(axis=(1, 2, 3)).sum() == 1
