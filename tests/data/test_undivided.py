"""Class folders as people collect pictures: nothing says what is for training and what is for testing."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_builders import pictures, write_parquet
from PIL import Image

from ecofed.data import Dataset, load_dataset, require_test
from ecofed.errors import DataError


def write(place: Path, counts: dict[str, int]) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        (place / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.new("L", (32, 32), 20 * number + index).save(place / name / f"{index:02}.png")
    return place


def load(place: Path) -> tuple[Dataset, list[str]]:
    notes: list[str] = []
    return load_dataset(str(place), note=notes.append), notes


def grey(data: Dataset) -> tuple[list[int], list[int]]:
    """The pictures of both splits, by their grey level."""
    return tuple(sorted(part.images_NHWC[:, 0, 0, 0].tolist()) for part in (data.train, require_test(data)))  # type: ignore[return-value]


def test_a_fifth_of_each_class_is_tested_on_and_that_is_said(tmp_path: Path) -> None:
    data, notes = load(write(tmp_path / "mine", {"ant": 10, "bee": 15, "cat": 2}))
    assert data.classes == ("ant", "bee", "cat")
    assert [(data.train.labels_N == label).sum() for label in range(3)] == [8, 12, 1]
    assert [(require_test(data).labels_N == label).sum() for label in range(3)] == [2, 3, 1]
    train, test = grey(data)
    assert not set(train) & set(test)
    (note,) = notes
    assert "has no train/ and test/: its folders are the classes (ant, bee, cat), and 6 of 27 pictures" in note


def test_what_was_tested_on_stays_when_pictures_come(tmp_path: Path) -> None:
    place = write(tmp_path / "mine", {"ant": 10, "bee": 10})
    before = set(grey(load(place)[0])[1])
    after = set(grey(load(write(place, {"ant": 11, "bee": 11}))[0])[1])
    assert len(before & after) >= 3


def test_a_class_with_one_picture_is_only_learned(tmp_path: Path) -> None:
    data, _ = load(write(tmp_path / "mine", {"ant": 5, "bee": 1}))
    assert data.train.labels_N.tolist() == [0, 0, 0, 0, 1]
    assert require_test(data).labels_N.tolist() == [0]


def test_where_folders_have_the_names_of_splits_they_are_splits(tmp_path: Path) -> None:
    place = write(tmp_path / "mine", {"train": 5, "other": 5})
    with pytest.raises(DataError, match=r"train/ bears the name of a split, .*if it is a class, rename it"):
        load(place)
    place = write(write(tmp_path / "more", {"cat": 5, "dog": 5}) / "val", {"cat": 5, "dog": 5}).parent
    with pytest.raises(DataError, match=r"val/ bears the name of a split, .* that cat, dog are not taken; .*move them"):
        load(place)


def test_the_folder_that_one_is_in_and_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = write(tmp_path / "mine", {"ant": 5, "bee": 5})
    for name, inside in ((".", place), ("./", place), ("..", place / "ant")):
        monkeypatch.chdir(inside)
        data = load_dataset(name, note=lambda _: None)
        assert (data.name, data.classes) == ("mine", ("ant", "bee"))


def test_one_folder_is_no_set_of_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds pictures of one class only, 'ant'; at least two classes are needed"):
        load(write(tmp_path / "mine", {"ant": 5}))


def test_classes_of_a_single_picture_leave_none_to_test_on(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"each class has one picture only.* needs at least 2, or .*a test/"):
        load(write(tmp_path / "mine", {"ant": 1, "bee": 1, "cow": 1}))


def test_how_many_are_tested_on_is_said_as_it_is(tmp_path: Path) -> None:
    data, notes = load(write(tmp_path / "mine", {"ant": 2, "bee": 2, "cow": 1}))
    assert len(require_test(data)) == 2
    said = "2 of 5 pictures are what is tested on: one in 5 of each class, at least one; of a single picture (cow) none"
    assert any(said in note for note in notes)


def test_pictures_beside_another_layout_are_no_classes(tmp_path: Path) -> None:
    place = write(tmp_path / "mine", {"figures": 2, "assets": 2})
    for part in ("train", "test"):
        write_parquet(place / f"{part}.parquet", pictures(4), [0, 1, 0, 1])
    data, notes = load(place)
    assert len(data.train) == 4
    assert any("not taken: " in note for note in notes)


def test_empty_class_folders_and_what_lies_in_the_others_are_told_of(tmp_path: Path) -> None:
    write(tmp_path, {"ant": 4, "bee": 4, "cow": 0})
    (tmp_path / "bee" / "9.svg").write_bytes(b"x")
    notes = load(tmp_path)[1]
    assert f"{tmp_path}: without a picture, and so no class: cow" in notes
    assert f"{tmp_path}: not taken: 1 of kind .svg (bee/9.svg)" in notes
