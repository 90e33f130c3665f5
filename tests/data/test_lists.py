"""Pictures in a heap, and a list that says what each of them shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from ecofed.config.problem import DataConfig
from ecofed.data import Dataset, load_dataset, require_test
from ecofed.data.reading import Reading, reading_of
from ecofed.errors import DataError

LEVELS = {f"p{number:02}": 4 * number for number in range(40)}
"""Pictures that can be told apart: name and grey level."""


def heap(place: Path, names: Sequence[str] = tuple(LEVELS), kind: str = "png") -> Path:
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("L", (32, 32), LEVELS[name]).save(place / f"{name}.{kind}")
    return place


def shown(name: str) -> str:
    return "bee" if LEVELS[name] % 8 else "ant"


def listing(
    file: Path,
    names: Sequence[str] = tuple(LEVELS),
    *,
    head: str = "file,label",
    line: Callable[[str], str] = lambda name: f"{name}.png,{shown(name)}",
) -> None:
    file.write_text("\n".join([head, *map(line, names)]) + "\n", encoding="utf-8")


def load(place: Path, **asked: str) -> tuple[Dataset, list[str]]:
    notes: list[str] = []
    return load_dataset(str(place), how=Reading(**asked), note=notes.append), notes  # type: ignore[arg-type]


def of(data: Dataset) -> tuple[dict[int, str], dict[int, str]]:
    """The class of each picture, by its grey level, of both splits."""
    return tuple(  # type: ignore[return-value]
        {
            int(level): data.classes[label]
            for level, label in zip(part.images_NHWC[:, 0, 0, 0], part.labels_N, strict=True)
        }
        for part in (data.train, require_test(data))
    )


TRUTH = {level: shown(name) for name, level in LEVELS.items()}


def test_one_list_for_all_leaves_a_fifth_of_each_class_to_test_on(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(tmp_path / "labels.csv")
    data, notes = load(tmp_path)
    train, test = of(data)
    assert data.classes == ("ant", "bee")
    assert train | test == TRUTH
    assert sorted(test.values()) == ["ant"] * 4 + ["bee"] * 4
    assert notes == [
        f"{tmp_path}: nothing says which pictures are for tests: 8 of 40 are what is tested on: one in 5 of each "
        "class, at least one",
        f"{tmp_path / 'labels.csv'}: column 'file' names the pictures, 'label' says what they show",
    ]


@pytest.mark.parametrize("within", [False, True])
def test_a_list_for_each_split_is_taken_as_it_is(within: bool, tmp_path: Path) -> None:
    names = list(LEVELS)
    parts = {"train": names[:30], "test": names[30:]}
    for part, own in parts.items():
        heap(tmp_path / part, own)
        listing(tmp_path / part / "metadata.csv" if within else tmp_path / f"{part}.csv", own)
    train, test = of(load(tmp_path)[0])
    assert train == {LEVELS[name]: shown(name) for name in parts["train"]}
    assert test == {LEVELS[name]: shown(name) for name in parts["test"]}


def test_equal_names_in_two_splits_are_those_of_each_splits_folder(tmp_path: Path) -> None:
    for part, level in (("train", 10), ("val", 90)):
        (tmp_path / part).mkdir()
        for number in range(4):
            Image.new("L", (32, 32), level + number).save(tmp_path / part / f"{number}.png")
        listing(tmp_path / f"{part}.csv", "0123", line=lambda name: f"{name}.png,{'ab'[int(name) % 2]}")
    data, notes = load(tmp_path)
    train, test = of(data)
    assert train == {10: "a", 11: "b", 12: "a", 13: "b"}
    assert test == {90: "a", 91: "b", 92: "a", 93: "b"}
    assert f"{tmp_path}: there is no test split: 'val' is what is tested on" in notes


def test_a_column_divides_a_list(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    words = ["train", "train", "Validation", "test"]
    listing(
        tmp_path / "labels.csv",
        head="Image;Split;Class",
        line=lambda name: f"images\\{name}.png;{words[LEVELS[name] // 4 % 4]};{shown(name)}",
    )
    train, test = of(load(tmp_path)[0])
    assert train == {level: name for level, name in TRUTH.items() if level // 4 % 4 < 2}
    assert test == {level: name for level, name in TRUTH.items() if level // 4 % 4 == 3}


def test_a_column_of_splits_that_has_no_tests_is_told_of(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(
        tmp_path / "labels.csv", head="file,label,split", line=lambda name: f"{name}.png,{shown(name)},fold{name[-1]}"
    )
    data, notes = load(tmp_path)
    assert len(require_test(data)) == 8
    assert any("column 'split' is not taken" in note and "fold0, fold1" in note for note in notes)


def test_names_without_ending_several_folders_and_a_column_of_any_name(tmp_path: Path) -> None:
    """As HAM10000 comes; its folders are no classes, and a note says so until the column is named."""
    names = list(LEVELS)
    heap(tmp_path / "part_1", names[:20])
    heap(tmp_path / "part_2", names[20:])
    listing(
        tmp_path / "HAM_metadata.csv",
        head="lesion_id,image_id,dx,age",
        line=lambda name: f"L1,{name},{shown(name)},40",
    )
    data, notes = load(tmp_path)
    assert data.classes == ("part_1", "part_2")
    (hint,) = (note for note in notes if "HAM_metadata.csv lists pictures, and is not taken" in note)
    assert "data.label_column=lesion_id or dx or age" in hint
    data, notes = load(tmp_path, label_column="dx")
    assert {**of(data)[0], **of(data)[1]} == TRUTH
    assert any("column 'image_id' names the pictures, 'dx' says what they show" in note for note in notes)


def test_folders_are_the_classes_where_a_list_says_nothing_of_them(tmp_path: Path) -> None:
    names = list(LEVELS)
    for kind in ("ant", "bee"):
        heap(tmp_path / kind, [name for name in names if shown(name) == kind])
    listing(tmp_path / "exif.csv", head="file,camera", line=lambda name: f"{name}.png,{LEVELS[name] % 3}")
    (tmp_path / "broken.csv").write_bytes(b"file,label\n\xff\xfe")
    assert load(tmp_path)[0].classes == ("ant", "bee")


def test_a_test_list_without_labels_is_not_tested_on(tmp_path: Path) -> None:
    """As competitions have them."""
    names = list(LEVELS)
    heap(tmp_path / "train", names[:30])
    heap(tmp_path / "test", names[30:])
    listing(tmp_path / "train.csv", names[:30], head="image_id,target", line=lambda name: f"{name},{LEVELS[name] % 3}")
    listing(tmp_path / "test.csv", names[30:], head="image_id,width", line=lambda name: f"{name},32")
    listing(tmp_path / "sample_submission.csv", names[30:], head="image_id,target", line=lambda name: f"{name},0")
    data, notes = load(tmp_path)
    assert len(data.train) + len(require_test(data)) == 30
    assert data.classes == ("0", "1", "2")
    assert any("test.csv: has no column 'target', so that its pictures are not taken" in note for note in notes)
    assert any("10 in test/, which is not read (test/p30.png" in note and "sample_submission" in note for note in notes)


def test_numbers_are_classes_in_their_order(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(tmp_path / "labels.csv", line=lambda name: f"{name}.png,{LEVELS[name] // 4 % 11}")
    assert load(tmp_path)[0].classes == tuple(map(str, range(11)))


def test_a_column_of_it_says_whose_picture_it_is(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(
        tmp_path / "labels.csv",
        head="file,label,camera",
        line=lambda name: f"{name}.png,{shown(name)},cam{LEVELS[name] // 4 % 3}",
    )
    config = DataConfig(name=str(tmp_path), partition="column", device_column="camera")
    data = load_dataset(str(tmp_path), how=reading_of(config, None), note=lambda _: None)
    assert data.train.device_N is not None
    assert data.train.device_N.tolist() == [level // 4 % 3 for level in data.train.images_NHWC[:, 0, 0, 0]]


MISTAKES = [
    ("p00.png,ant\ngone.png,bee", r"line 3: 'gone.png' is no picture in .*; such lines: 1 of 2"),
    ("p00.png,ant\np00.png,bee", r"line 3: 'p00.png' is the picture of line 2, too"),
    ("p00.png,ant\np01.png,", r"line 3: nothing in column 'label'"),
    ("p00.png,ant\np01.png", r"line 3 has 1 columns, the first one 2"),
    ("p00.png,ant\np01.png,bee,more", r"line 3 has 3 columns, the first one 2"),
    ("p00.png,ant\ntwice,bee", r"line 3: 'twice' may be .*twice.* and .*twice.*; give it with its folder"),
    ("p00.png,ant\np02.png,bee", r"each class has one picture only"),
]


@pytest.mark.parametrize(("lines", "message"), MISTAKES)
def test_what_is_wrong_in_a_list_is_said_with_its_line(lines: str, message: str, tmp_path: Path) -> None:
    heap(tmp_path / "images")
    for folder in ("images", "more"):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("L", (32, 32)).save(tmp_path / folder / "twice.png")
    (tmp_path / "labels.csv").write_text(f"file,label\n{lines}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message) as error:
        load(tmp_path, label_column="label")
    assert "\n" not in str(error.value)
    assert "labels.csv" in str(error.value) or "one picture only" in message


def test_columns_are_asked_for_where_no_name_tells(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(tmp_path / "data.csv", head="file,age,place", line=lambda name: f"{name}.png,4,here")
    with pytest.raises(DataError, match=r"which column says what a picture shows\? data.label_.*found age, place"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"no column 'ag' \(data.label_column\) \(did you mean 'age'\?\)"):
        load(tmp_path, label_column="ag")
    listing(tmp_path / "more.csv", head="file,label", line=lambda name: f"{name}.png,4")
    with pytest.raises(DataError, match=r"several lists name its pictures \(data.csv, more.csv\)"):
        load(tmp_path)


def test_pictures_of_both_splits_are_refused(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(tmp_path / "train.csv", list(LEVELS)[:30])
    listing(tmp_path / "test.csv", list(LEVELS)[29:])
    with pytest.raises(DataError, match=r"test.csv: p29.png is in train.csv, too"):
        load(tmp_path)


def test_a_list_that_changes_is_read_anew(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(tmp_path / "labels.csv")
    assert load(tmp_path)[0].classes == ("ant", "bee")
    listing(tmp_path / "labels.csv", line=lambda name: f"{name}.png,{'xy'[LEVELS[name] // 4 % 2]}")
    assert load(tmp_path)[0].classes == ("x", "y")


def test_nothing_with_columns_is_said(tmp_path: Path) -> None:
    heap(tmp_path / "ant")
    heap(tmp_path / "bee")
    with pytest.raises(DataError, match=r"data.label_column names a column of parquet files or of a list"):
        load(tmp_path, label_column="dx")


def test_a_file_that_lists_nothing_is_named_where_nothing_else_says_what_pictures_show(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    (tmp_path / "labels.csv").write_text('file,label\n"p00.png,ant\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"one class only, 'images'.* or a list \(CSV\).*; labels.csv is none"):
        load(tmp_path)


@pytest.mark.parametrize("other", ["dev", "unlabeled", ""])
def test_a_column_of_splits_may_have_more_words(other: str, tmp_path: Path) -> None:
    """What is marked for tests is never trained on, whatever else stands in the column."""
    heap(tmp_path / "images")
    words = ["train", "train", other, "test"]
    listing(
        tmp_path / "labels.csv",
        head="file,label,split",
        line=lambda name: f"{name}.png,{shown(name)},{words[LEVELS[name] // 4 % 4]}",
    )
    data, notes = load(tmp_path)
    train, test = of(data)
    assert {level // 4 % 4 for level in train} == {0, 1}
    assert {level // 4 % 4 for level in test} == {3}
    assert f"{tmp_path / 'labels.csv'}: lines not taken, by column 'split': 10 with '{other}'" in notes
    assert not any("tells no tests" in note for note in notes)


def test_tests_without_anything_to_train_on_are_not_divided_anew(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(
        tmp_path / "labels.csv",
        head="file,label,split",
        line=lambda name: f"{name}.png,{shown(name)},{'test' if LEVELS[name] % 3 else 'learn'}",
    )
    with pytest.raises(DataError, match=r"column 'split' has 'test', and no line with train or training: .*'learn'"):
        load(tmp_path)


def test_columns_that_name_different_pictures_are_asked_about(tmp_path: Path) -> None:
    names = list(LEVELS)
    heap(tmp_path / "images")
    listing(
        tmp_path / "labels.csv",
        head="image_id,path,label",
        line=lambda name: f"{names[-1 - names.index(name)]},images/{name}.png,{shown(name)}",
    )
    with pytest.raises(DataError, match=r"columns image_id, path name different .*line 2.*data.image_column says"):
        load(tmp_path)
    train, test = of(load(tmp_path, image_column="path")[0])
    assert train | test == TRUTH


def test_a_mask_beside_a_picture_does_no_harm(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    heap(tmp_path / "masks")
    for mask in (tmp_path / "masks").iterdir():
        mask.rename(mask.with_name(f"m{mask.name}"))
    listing(
        tmp_path / "labels.csv",
        head="mask,image,label",
        line=lambda name: f"m{name}.png,{name}.png,{shown(name)}",
    )
    train, test = of(load(tmp_path)[0])
    assert train | test == TRUTH


def test_columns_that_name_the_same_picture_or_are_numbers_by_chance_do_no_harm(tmp_path: Path) -> None:
    place = tmp_path / "images"
    place.mkdir()
    for number in range(12):
        Image.new("L", (32, 32), number).save(place / f"{number}.png")
    lines = [f"{number},images/{number}.png,{number % 3}" for number in range(12)]
    (tmp_path / "labels.csv").write_text("\n".join(["image_id,path,label", *lines]), encoding="utf-8")
    train, test = of(load(tmp_path)[0])
    assert train | test == {number: str(number % 3) for number in range(12)}


def test_equal_numbers_are_classes_in_one_order_and_dashes_are_no_numbers(tmp_path: Path) -> None:
    heap(tmp_path / "images")
    words = ["10", "3", "03", "003", "-2"]
    listing(tmp_path / "labels.csv", line=lambda name: f"{name}.png,{words[LEVELS[name] // 4 % 5]}")
    assert load(tmp_path)[0].classes == ("-2", "003", "03", "3", "10")
    listing(tmp_path / "labels.csv", line=lambda name: f"{name}.png,{('--3', '3')[LEVELS[name] // 4 % 2]}")
    assert load(tmp_path)[0].classes == ("--3", "3")


@pytest.mark.parametrize("broken", ["big\ncat", "big\u2028cat"])
def test_a_label_of_several_lines_is_refused(broken: str, tmp_path: Path) -> None:
    heap(tmp_path / "images")
    listing(tmp_path / "labels.csv", line=lambda name: f'{name}.png,"{broken if name == "p01" else shown(name)}"')
    with pytest.raises(DataError, match=r"line [34]: 'big cat' in column 'label' has a line break in it"):
        load(tmp_path)


def test_columns_that_need_not_be_there(tmp_path: Path) -> None:
    """As where another data set is evaluated than that whose columns are known."""
    for kind in ("ant", "bee"):
        heap(tmp_path / "set" / kind, [name for name in LEVELS if shown(name) == kind])
    how = Reading(label_column="dx", columns_needed=False)
    assert load_dataset(str(tmp_path / "set"), how=how, note=lambda _: None).classes == ("ant", "bee")
    listing(
        tmp_path / "set" / "list.csv", head="file,dx", line=lambda name: f"{name}.png,{'xy'[LEVELS[name] // 4 % 2]}"
    )
    assert load_dataset(str(tmp_path / "set"), how=how, note=lambda _: None).classes == ("x", "y")


def test_pictures_are_read_anew_though_a_list_that_is_not_taken_names_a_missing_one(tmp_path: Path) -> None:
    """As archives of competitions have it: the tests have no labels."""
    heap(tmp_path / "images")
    listing(tmp_path / "train.csv")
    (tmp_path / "test.csv").write_text("file,width\np00.png,32\ngone.png,32\n", encoding="utf-8")
    for asked in ({}, {"label_column": "label"}):
        load(tmp_path, **asked)
        Image.new("L", (32, 32), 255).save(tmp_path / "images" / "p01.png")
        train, test = of(load(tmp_path, **asked)[0])
        assert {255, 0} < {*train, *test}
        assert LEVELS["p01"] not in {*train, *test}


@pytest.mark.parametrize("beside", [(), ("extra",)])
def test_pictures_in_folders_of_the_splits_are_divided_as_they_lie(beside: tuple[str, ...], tmp_path: Path) -> None:
    names = list(LEVELS)
    parts = {"Train": names[:30], "test": names[30:37], **dict.fromkeys(beside, names[37:])}
    for part, own in parts.items():
        heap(tmp_path / part, own)
    listing(tmp_path / "labels.csv", [name for own in parts.values() for name in own])
    data, notes = load(tmp_path)
    train, test = of(data)
    assert (set(train), set(test)) == tuple({LEVELS[name] for name in parts[part]} for part in ("Train", "test"))
    place = tmp_path / "labels.csv"
    assert f"{place}: its pictures in test/ are tested on, those in Train/ trained on" in notes
    assert bool(beside) == (f"{place}: 3 pictures are in neither of these, and are not taken" in notes)


def test_a_list_that_names_another_label_of_class_folders_keeps_their_division(tmp_path: Path) -> None:
    names = list(LEVELS)
    for part, own in (("train", names[:30]), ("test", names[30:])):
        for kind in "xy":
            heap(tmp_path / part / kind, [name for name in own if (LEVELS[name] % 12 == 0) == (kind == "x")])
    listing(tmp_path / "kinds.csv", head="file,kind")
    _, test = of(load(tmp_path, label_column="kind")[0])
    assert test == {LEVELS[name]: shown(name) for name in names[30:]}


@pytest.mark.parametrize("line", [lambda name: f"{name}.png,{shown(name)}", lambda name: f"{name},{shown(name)}"])
def test_a_list_without_a_head_is_refused(line: Callable[[str], str], tmp_path: Path) -> None:
    heap(tmp_path)
    (tmp_path / "labels.csv").write_text("\n".join(map(line, LEVELS)), encoding="utf-8")
    with pytest.raises(DataError, match=r"labels.csv: its first line names a picture \('p00(.png)?'\), and has"):
        load(tmp_path)


def test_a_picture_may_be_called_as_the_column_of_pictures_is(tmp_path: Path) -> None:
    heap(tmp_path)
    Image.new("L", (32, 32), 255).save(tmp_path / "image.png")
    listing(tmp_path / "labels.csv", head="image,label")
    assert len({**of(load(tmp_path)[0])[0], **of(load(tmp_path)[0])[1]}) == len(LEVELS)


def test_letters_are_the_same_however_they_are_composed(tmp_path: Path) -> None:
    heap(tmp_path)
    for name in LEVELS:
        (tmp_path / f"{name}.png").rename(tmp_path / f"cafe\u0301-{name}.png")
    listing(tmp_path / "labels.csv", line=lambda name: f"caf\u00e9-{name}.png,{shown(name)}")
    train, test = of(load(tmp_path)[0])
    assert train | test == TRUTH


def test_a_list_that_names_no_picture_is_told_of(tmp_path: Path) -> None:
    heap(tmp_path)
    listing(tmp_path / "labels.csv", line=lambda name: f"{name}.PNG,{shown(name)}")
    with pytest.raises(DataError, match=r"labels.csv is none: no column of .* names a picture here \(case counts\)"):
        load(tmp_path)
