"""A trained network on other data than its own, and as it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import ecofed
from ecofed.config.schema import Config
from ecofed.errors import ConfigError, DataError, Notice
from ecofed.runs.evaluating import evaluate
from ecofed.runs.exporting import export_network

CLASSES = ("ant", "bee", "cow")


def write_pictures(folder: Path, classes: tuple[str, ...] = CLASSES, side: int = 32) -> Path:
    """Noise that is brightest in a corner of the class's own."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 40)):
        for name in classes:
            place = folder / part / name
            place.mkdir(parents=True)
            row, column = divmod(CLASSES.index(name) if name in CLASSES else 3, 2)
            for number in range(count):
                pixels = draw.integers(0, 90, (side, side), dtype=np.uint8)
                half = side // 2
                pixels[half * row : half * (row + 1), half * column : half * (column + 1)] += 120
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


BASE: dict[str, Any] = {
    "model__name": "resnet9",
    "model__width": 0.0625,
    "devices": 4,
    "sampled_devices": 4,
    "batch_size": 8,
    "rounds": 6,
    "learning_rate": 0.05,
    "test_part": "report",
    "test_samples": 10_000,
    "data__augment": False,
    "initialisation": "random",
    "front__name": "random",
}


def trained(data: Path, out: Path, method: str, **changes: Any) -> ecofed.RunResult:
    config = Config().replace(**(BASE | {"method": method, "data__name": str(data)} | changes))
    return ecofed.run(config, out=out, report=False)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.ci
def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    trained(write_pictures(tmp_path / "all"), tmp_path / "run", "ecofed")
    whole = ecofed.evaluate(tmp_path / "run")
    assert whole.samples == 120
    assert whole.accuracy > 0.9
    some = ecofed.evaluate(tmp_path / "run", str(write_pictures(tmp_path / "some", ("bee", "cow"))))
    assert some.samples == 80
    assert some.accuracy > 0.9
    both = "has a class 'dog' that the network does not know; its classes: ant, bee, cow; those of strange: bee, dog"
    with pytest.raises(DataError, match=both):
        ecofed.evaluate(tmp_path / "run", str(write_pictures(tmp_path / "strange", ("bee", "dog"))))


def write_numbers(folder: Path, numbers: tuple[int, ...]) -> Path:
    """The pictures of :func:`write_pictures` in parquet, with numbers for classes and no names."""
    folder.mkdir()
    pictures = write_pictures(folder.with_name(f"{folder.name}-pictures"))
    for part in ("train", "test"):
        files = [
            (number, file)
            for number, name in zip(numbers, CLASSES, strict=True)
            for file in sorted((pictures / part / name).iterdir())
        ]
        table = pa.table({"image": [file.read_bytes() for _, file in files], "label": [number for number, _ in files]})
        pq.write_table(table, folder / f"{part}.parquet")
    return folder


@pytest.mark.ci
def test_numbers_are_matched_by_number(tmp_path: Path) -> None:
    trained(write_numbers(tmp_path / "own", (3, 5, 7)), tmp_path / "run", "ecofed")
    assert ecofed.evaluate(tmp_path / "run").accuracy > 0.9
    # The same pictures under each other's numbers: by order all would be right, by number none of two classes is.
    swapped = ecofed.evaluate(tmp_path / "run", str(write_numbers(tmp_path / "swapped", (7, 5, 3))))
    assert swapped.accuracy == pytest.approx(1 / 3, abs=0.1)
    for name, numbers in (("shifted", (0, 1, 2)), ("from-one", (1, 2, 3)), ("gap", (3, 5, 8))):
        with pytest.raises(DataError, match="does not know; its classes: 3, 5, 7; those of " + name):
            ecofed.evaluate(tmp_path / "run", str(write_numbers(tmp_path / name, numbers)))
    with pytest.raises(DataError, match="its classes: 3, 5, 7; those of words: ant, bee, cow"):
        ecofed.evaluate(tmp_path / "run", str(write_pictures(tmp_path / "words")))


def test_data_that_have_changed_are_told_of_and_a_stand_in_is_matched_by_name(tmp_path: Path) -> None:
    """Digits have one channel as well, and nothing else in common."""
    data = write_pictures(tmp_path / "gone")
    trained(data, tmp_path / "run", "ecofed", data__fallback="digits", rounds=1)
    (data / "train" / "ant" / "0.png").unlink()
    ecofed.evaluate(tmp_path / "run")
    (data / "test" / "ant" / "0.png").unlink()
    with pytest.warns(Notice, match="gone: its test pictures are not those of the network's run any more"):
        ecofed.evaluate(tmp_path / "run")
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"has a class '0' .*its classes: ant, bee, cow; those of .*: 0, 1, 2, 3"):
        ecofed.evaluate(tmp_path / "run")


@pytest.mark.ci
def test_folders_that_are_numbers_are_those_numbers(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    for part in ("train", "test"):
        for number, name in zip((7, 3, 5), CLASSES, strict=True):
            (pictures / part / name).rename(pictures / part / str(number))
    trained(pictures, tmp_path / "run", "ecofed")
    assert ecofed.evaluate(tmp_path / "run", str(write_numbers(tmp_path / "own", (7, 3, 5)))).accuracy > 0.9


@pytest.mark.ci
def test_names_are_matched_however_they_are_spelled(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    for part in ("train", "test"):
        (pictures / part / "bee").rename(pictures / part / "caf\u00e9")
    trained(pictures, tmp_path / "run", "ecofed")
    for part in ("train", "test"):
        (pictures / part / "caf\u00e9").rename(pictures / part / " cafe\u0301")  # which sorts before all others
    other = pictures.rename(tmp_path / "apart")
    assert ecofed.evaluate(tmp_path / "run", str(other)).accuracy > 0.9
    for part in ("train", "test"):
        (other / part / "ant").rename(other / part / "Ant")
    with pytest.raises(DataError, match=r"has a class 'Ant' .*did you mean 'ant'"):
        ecofed.evaluate(tmp_path / "run", str(other))


@pytest.mark.ci
def test_a_network_that_normalises_by_the_batch_gets_mixed_batches_and_says_so(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "all")
    result = trained(data, tmp_path / "run", "classic-fl", normalisation="batch")
    evaluation = ecofed.evaluate(tmp_path / "run")  # the pictures are sorted by class
    assert result.totals.final_test_accuracy > 0.9
    assert evaluation.accuracy > 0.9
    with pytest.warns(UserWarning, match="depend on the images that are asked together"):
        ecofed.predict(tmp_path / "run", [data / "test/ant/0.png", data / "test/bee/0.png"])


def test_a_network_whose_codes_have_a_scale_of_their_batch_says_so(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "all")
    scaled = {"codec__name": "minmax", "codec__bits": 8}
    trained(data, tmp_path / "run", "ecofed", rounds=1, test_samples=10, ecofed__server_steps=1, **scaled)
    export_network(tmp_path / "run", tmp_path / "network.onnx")
    for network in ("run", "network.onnx"):
        with pytest.warns(UserWarning, match=r"depend on the images that are asked together .*codec.name=minmax"):
            ecofed.predict(tmp_path / network, data / "test/ant/0.png")


@pytest.mark.ci
@pytest.mark.parametrize("side", [28, 32])
def test_send_images_is_tested_and_used_on_images_like_those_it_was_trained_on(side: int, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "all", side=side)
    sent = {"send_images__size": 14, "send_images__quality": 20}
    result = trained(data, tmp_path / "run", "send-images", rounds=8, **sent)
    last = result.rounds[-1]
    assert last.test_accuracy is not None
    # The run tests on four fifths of the same images.
    evaluation = ecofed.evaluate(tmp_path / "run")
    assert evaluation.accuracy == pytest.approx(last.test_accuracy, abs=0.05)
    assert evaluation.loss == pytest.approx(last.test_loss, rel=0.25)


def write_list(folder: Path, column: str, other: str) -> Path:
    """The pictures of :func:`write_pictures` with a list that says in ``column`` what they show."""
    pictures = write_pictures(folder)
    for part in ("train", "test"):
        files = [(name, file) for name in CLASSES for file in sorted((pictures / part / name).iterdir())]
        rows = [f"{file.relative_to(pictures / part)},{name},{number % 2}" for number, (name, file) in enumerate(files)]
        (pictures / f"{part}.csv").write_text("\n".join([f"file,{column},{other}", *rows]) + "\n")
    return pictures


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore::ecofed.errors.Notice")
def test_other_data_are_read_by_the_columns_of_the_networks_own(tmp_path: Path) -> None:
    columns = {"data__label_column": "kind", "model__name": "lenet", "rounds": 1}
    trained(write_list(tmp_path / "own", "kind", "sex"), tmp_path / "run", "classic-fl", **columns)
    own = evaluate(tmp_path / "run")
    again = evaluate(tmp_path / "run", str(write_list(tmp_path / "other", "kind", "sex")))
    assert again.accuracy == own.accuracy
    assert evaluate(tmp_path / "run", str(write_pictures(tmp_path / "folders"))).accuracy == own.accuracy
    strange = str(write_list(tmp_path / "strange", "what", "sex"))
    with pytest.raises(DataError, match=r"no column 'kind' \(data.label_column\); it has file, what, sex"):
        evaluate(tmp_path / "run", strange)
    assert evaluate(tmp_path / "run", strange, ["data.label_column=what"]).accuracy == own.accuracy
    assert evaluate(tmp_path / "run", strange, ["data.label_column=none"]).accuracy == own.accuracy  # by folders
    with pytest.raises(ConfigError, match=r"--set rounds: only data.image_column and data.label_column can"):
        evaluate(tmp_path / "run", strange, ["rounds=2"])
