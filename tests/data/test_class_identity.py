"""Classes that come from two places are matched by name or original number, never by where they stand."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_builders import encode, pictures, write_idx, write_rows

from ecofed.config.class_identity import identity, listed, positions, settled
from ecofed.data import Dataset, load_dataset, require_test
from ecofed.errors import DataError

CAFE, CAFE_APART = "caf\u00e9", "cafe\u0301"


def write(file: Path, labels: list[Any], names: list[str] | None = None, seed: int = 0) -> None:
    """A parquet file; ``names`` is what the hub calls a ClassLabel."""
    feature = {"info": {"features": {"label": {"names": names}}}}
    cells = [encode(image) for image in pictures(len(labels), seed=seed)]
    write_rows(file, cells, labels, metadata=None if names is None else {"huggingface": json.dumps(feature)})


def write_folders(place: Path, *classes: str) -> None:
    for number, name in enumerate(classes):
        (place / name).mkdir(parents=True)
        (place / name / "0.png").write_bytes(encode(pictures(1, seed=number)[0]))


def named(data: Dataset) -> tuple[list[str], list[str]]:
    """The class of every training and test image, in words."""
    test = require_test(data)
    return [data.classes[at] for at in data.train.labels_N], [data.classes[at] for at in test.labels_N]


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        (CAFE_APART, CAFE),
        (" cat", "cat"),
        ("cat \t", "cat"),
        ("cat\u00a0", "cat"),
        ("cat\0\0", "cat"),
        ("\ufeffcat", "cat"),
        (" \ufeff cat", "cat"),
        ("a b", "a b"),
        ("\uac00", unicodedata.normalize("NFD", "\uac00")),
    ],
)
def test_what_makes_two_names_one_class(name: str, same: str) -> None:
    assert identity(name) == identity(same)
    assert identity(identity(name)) == identity(name)


@pytest.mark.parametrize(
    ("one", "other"), [("cat", "Cat"), ("3", "03"), ("cat", "cats"), ("a b", "ab"), ("\ufb01sh", "fish")]
)
def test_what_makes_two_names_two_classes(one: str, other: str) -> None:
    assert identity(one) != identity(other)
    assert settled((one, other), "here") == (one, other)


def test_positions_are_by_name_and_both_lists_are_in_the_refusal() -> None:
    words: dict[str, Any] = {"refusal": lambda name: f"'{name}' is strange", "own": "mine", "others": "theirs"}
    assert positions(["dog", " ant"], ["ant", "bee", "dog"], **words).tolist() == [2, 0]
    with pytest.raises(DataError) as caught:
        positions(["ant", "Dog"], ["ant", "bee", "dog"], **words)
    assert str(caught.value) == ("'Dog' is strange; theirs: ant, bee, dog; mine: ant, Dog (did you mean 'dog'?)")
    assert listed([str(n) for n in range(1000)]).endswith("38, 39, ... (1000 in all)")
    long = [f"{number:03} {'x' * 500}" for number in range(30)]
    assert listed(long).startswith("000 xxx")
    assert listed(long).endswith("xxx..., ... (30 in all)")
    assert len(listed(long)) < 900  # both lists fit into a note


def test_a_name_that_no_network_could_carry_is_refused() -> None:
    assert settled(["x" * 1000, "y"], "here") == ("x" * 1000, "y")
    with pytest.raises(DataError, match=r"here: a class's name has 1,001 letters, more than 1,000: xxx"):
        settled(["y", "x" * 1001], "here")


@pytest.mark.parametrize("names", [("cat", "cat "), (CAFE, CAFE_APART), ("a", "b", "a"), ("cat", "  "), ("",)])
def test_a_list_with_one_class_twice_or_without_a_name_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match=r"have the same name|has no name"):
        settled(names, "here")


class TestSplits:
    @pytest.mark.parametrize("spelling", [CAFE_APART, f" {CAFE}", f"{CAFE}\u2003"])
    def test_folders_that_spell_a_name_in_two_ways(self, spelling: str, tmp_path: Path) -> None:
        write_folders(tmp_path / "train", "ant", CAFE)
        write_folders(tmp_path / "test", spelling, "ant")
        data = load_dataset(str(tmp_path))
        assert data.classes == ("ant", CAFE)
        assert sorted(named(data)[1]) == ["ant", CAFE]

    def test_two_folders_of_one_class_are_refused(self, tmp_path: Path) -> None:
        write_folders(tmp_path / "train", CAFE, CAFE_APART)
        assert r"the classes 'cafe\u0301' and 'caf\xe9' have the same name" in refusal(tmp_path)

    def test_case_makes_another_class(self, tmp_path: Path) -> None:
        write_folders(tmp_path / "train", "Ant", "bee")
        write_folders(tmp_path / "test", "ant", "bee")
        assert refusal(tmp_path).endswith(
            "class 'ant' occurs in the test split but not in training; "
            "training: Ant, bee; the test split: ant, bee (did you mean 'Ant'?)"
        )

    def test_lists_in_another_order_and_with_fewer_classes(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [0, 1, 2], ["cat", "dog", "eel"])
        write(tmp_path / "test.parquet", [0, 1], ["eel", "cat"])
        assert named(load_dataset(str(tmp_path))) == (["cat", "dog", "eel"], ["eel", "cat"])

    def test_a_list_with_more_classes_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [0, 1], ["cat", "dog"])
        write(tmp_path / "test.parquet", [2], ["cat", "dog", "eel"])
        assert (
            "'eel' occurs in the test split but not in training; training: cat, dog; the test split: cat, dog, eel"
            in (refusal(tmp_path))
        )

    def test_names_against_words_in_the_column(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [1, 0], ["zebra", CAFE])
        write(tmp_path / "test.parquet", [f"{CAFE_APART} ", "zebra"])
        assert named(load_dataset(str(tmp_path))) == ([CAFE, "zebra"], [CAFE, "zebra"])

    @pytest.mark.parametrize("reverse", [False, True])
    def test_names_against_numbers_are_refused_with_both_lists(self, reverse: bool, tmp_path: Path) -> None:
        one, other = ("test", "train") if reverse else ("train", "test")
        write(tmp_path / f"{one}.parquet", [0, 1], ["1", "0"])  # what would 0 be, the class '0' or the first one?
        write(tmp_path / f"{other}.parquet", [0, 1])
        text = refusal(tmp_path)
        assert "nothing says which is which" in text
        assert "1, 0" in text
        assert "0, 1" in text

    def test_numbers_with_gaps_that_do_not_start_at_0(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [7, 1, 3, 3])
        write(tmp_path / "test.parquet", [3, 7, 7])
        assert named(load_dataset(str(tmp_path))) == (["7", "1", "3", "3"], ["3", "7", "7"])
        write(tmp_path / "test.parquet", [0, 1])
        assert "class '0' occurs in the test split but not in training; training: 1, 3, 7; the test split: 0, 1" in (
            refusal(tmp_path)
        )

    def test_a_known_set_in_folders_has_the_names_of_the_known_set(self, tmp_path: Path) -> None:
        digits = [str(n) for n in range(10)]
        place = tmp_path / "mnist"
        for part in ("train", "test"):
            for name in digits:
                (place / part / name).mkdir(parents=True)
                grey = pictures(1, side=28, channels=1, seed=int(name))[0]
                (place / part / name / "0.png").write_bytes(encode(grey))
        assert load_dataset(str(place)).classes == tuple(digits)
        shoes = tmp_path / "fashion-mnist"
        names = [
            "ankle-boot",
            "bag",
            "coat",
            "dress",
            "pullover",
            "sandal",
            "shirt",
            "sneaker",
            "t-shirt-top",
            "trouser",
        ]
        for name in names:
            (shoes / "train" / name).mkdir(parents=True)
            (shoes / "train" / name / "0.png").write_bytes(encode(pictures(1, side=28, channels=1)[0]))
        data = load_dataset(str(shoes))
        assert data.classes[:2] == ("Ankle boot", "Bag")  # the alphabet's order, the published spelling
        assert data.classes[8] == "T-shirt/top"

    def test_idx_files_of_numbers_that_differ(self, tmp_path: Path) -> None:
        images = pictures(3, side=28, channels=1)[..., 0]
        write_idx(tmp_path, "train", images, np.array([5, 6, 9]))
        write_idx(tmp_path, "t10k", images, np.array([9, 9, 5]))
        assert named(load_dataset(str(tmp_path))) == (["5", "6", "9"], ["9", "9", "5"])


class TestShards:
    def test_lists_in_another_order(self, tmp_path: Path) -> None:
        write(tmp_path / "train-00000-of-00003.parquet", [0, 1, 2], ["cat", "dog", CAFE])
        write(tmp_path / "train-00001-of-00003.parquet", [0, 1, 2], [CAFE_APART, "cat ", "dog"])
        write(tmp_path / "train-00002-of-00003.parquet", [0, 0], ["dog"])
        write(tmp_path / "test.parquet", [0], ["dog"])
        words, _ = named(load_dataset(str(tmp_path)))
        assert words == ["cat", "dog", CAFE, CAFE, "cat", "dog", "dog", "dog"]
        assert named(load_dataset(str(tmp_path)))[0] == words  # from the cache

    def test_the_longest_list_is_the_whole_one_wherever_it_stands(self, tmp_path: Path) -> None:
        write(tmp_path / "train-00000-of-00002.parquet", [0], ["dog"])
        write(tmp_path / "train-00001-of-00002.parquet", [0, 1], ["cat", "dog"])
        data = load_dataset(str(tmp_path))
        assert [data.classes[at] for at in data.train.labels_N] == ["dog", "cat", "dog"]

    def test_a_class_that_the_other_shards_list_lacks_is_refused(self, tmp_path: Path) -> None:
        write(tmp_path / "train-00000-of-00002.parquet", [0, 1], ["cat", "dog"])
        write(tmp_path / "train-00001-of-00002.parquet", [0, 1], ["cat", "wolf"])
        text = refusal(tmp_path)
        assert "class 'wolf' is not in the list of train-00000-of-00002.parquet" in text
        assert "train-00000-of-00002.parquet: cat, dog; train-00001-of-00002.parquet: cat, wolf" in text

    @pytest.mark.parametrize("second", [[0, 1], ["cat", "dog"]])
    def test_numbers_beside_names_are_refused(self, second: list[Any], tmp_path: Path) -> None:
        first: list[Any] = [0, 1] if isinstance(second[0], str) else ["cat", "dog"]
        write(tmp_path / "train-00000-of-00002.parquet", first)
        write(tmp_path / "train-00001-of-00002.parquet", second)
        text = refusal(tmp_path)
        assert "has numbers for classes where" in text
        assert "cat, dog" in text
        assert "0, 1" in text

    def test_words_in_the_columns_are_joined_by_name(self, tmp_path: Path) -> None:
        write(tmp_path / "train-00000-of-00002.parquet", ["eel", "ant"])
        write(tmp_path / "train-00001-of-00002.parquet", ["bee", " ant", "ant"])
        data = load_dataset(str(tmp_path))
        assert data.classes == ("ant", "bee", "eel")
        assert [data.classes[at] for at in data.train.labels_N] == ["eel", "ant", "bee", "ant", "ant"]

    def test_a_list_with_one_class_twice(self, tmp_path: Path) -> None:
        write(tmp_path / "train.parquet", [0, 1], ["cat", "cat "])
        assert "the classes 'cat' and 'cat ' have the same name" in refusal(tmp_path)

    def test_numbers_are_the_files_own(self, tmp_path: Path) -> None:
        write(tmp_path / "train-00000-of-00002.parquet", [7, 5])
        write(tmp_path / "train-00001-of-00002.parquet", [3, 7])
        data = load_dataset(str(tmp_path))
        assert [data.classes[at] for at in data.train.labels_N] == ["7", "5", "3", "7"]
