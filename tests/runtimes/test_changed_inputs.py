"""A run folder knows what its run read; what changed under it is refused, or said."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import BASE, outcome

from ecofed.cli import main
from ecofed.config import Config, Settings, registry
from ecofed.costs.profiles import load_device
from ecofed.errors import ConfigError
from ecofed.pretraining.bundling import random_front
from ecofed.reports.joining import joined, load
from ecofed.results import Comparison, RunResult
from ecofed.runs import preparation
from ecofed.runs.checkpoints import CHECKPOINT_FILE, Checkpoint
from ecofed.runs.experiment import compare, run
from ecofed.runs.frontier import frontier
from ecofed.runs.observing import SilentObserver
from ecofed.wire import FrontBundle
from stopping import StopAfter

pytestmark = pytest.mark.usefixtures("often_saved_without_reports")

PICTURE = Path("train") / "class1" / "3.png"


@pytest.fixture
def data(pictures: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(pictures, tmp_path / "pictures"))


def settings_of(data: Path, **changes: object) -> Settings:
    keys = BASE | {"data.name": data, "rounds": 2} | {key.replace("__", "."): value for key, value in changes.items()}
    return Settings.load(None, [f"{key}={value}" for key, value in keys.items()])


def config_of(data: Path, method: str = "classic-fl", **changes: object) -> Config:
    return settings_of(data, **changes).for_method(method)


def stopped(config: Config, folder: Path) -> Path:
    with pytest.raises(KeyboardInterrupt):
        run(config, out=folder, observer=StopAfter(2), report=False)
    assert (folder / CHECKPOINT_FILE).exists()
    return folder


def paint(file: Path, value: int = 7) -> None:
    pixels = np.asarray(Image.open(file)).copy()
    pixels[0, 0] = value
    Image.fromarray(pixels).save(file)


def add_picture(data: Path) -> None:
    shutil.copy(data / "train" / "class0" / "0.png", data / "train" / "class2" / "new.png")


def rename_class(data: Path) -> None:
    for split in ("train", "test"):
        (data / split / "class3").rename(data / split / "class4")


def swap_labels(data: Path) -> None:
    for split in ("test",):
        one, other = (data / split / f"class{label}" / "0.png" for label in (0, 1))
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)


CHANGES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "one pixel": (lambda data: paint(data / PICTURE), ["training pictures"]),
    "a test picture": (lambda data: paint(data / "test" / "class0" / "1.png"), ["test pictures"]),
    "one more": (add_picture, ["training pictures", "training labels", "division of the data"]),
    "a class": (rename_class, ["classes"]),
    "two test pictures": (swap_labels, ["test pictures"]),
}


def told(error: ConfigError, folder: Path) -> list[str]:
    """What a refusal names, each with two short fingerprints that differ."""
    text = str(error)
    assert text.startswith(f"{folder}: what its run read has changed since: ")
    assert text.endswith("; bring back what was there, or choose another --out")
    found = re.findall(r"(?:, |: )([^,:]+) \(([0-9a-f]{12}) then, ([0-9a-f]{12}) now\)", text)
    assert all(then != now for _, then, now in found)
    return [name for name, _, _ in found]


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_is_not_continued_on_other_data(change: str, data: Path, tmp_path: Path) -> None:
    config = config_of(data)
    folder = stopped(config, tmp_path / "run")
    apply, names = CHANGES[change]
    apply(data)
    with pytest.raises(ConfigError) as caught:
        run(config, out=folder, resume=True)
    assert told(caught.value, folder) == names


def test_a_run_that_was_stopped_before_its_first_checkpoint_is_no_exception(data: Path, tmp_path: Path) -> None:
    config = config_of(data)
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "run", observer=StopAfter(1))
    assert not (tmp_path / "run" / CHECKPOINT_FILE).exists()
    paint(data / PICTURE)
    with pytest.raises(ConfigError) as caught:
        run(config, out=tmp_path / "run", resume=True)
    assert told(caught.value, tmp_path / "run") == ["training pictures"]


def test_what_is_finished_stands_only_for_the_data_that_are_there(data: Path, tmp_path: Path) -> None:
    settings = settings_of(data, rounds=1)
    run(settings.for_method("classic-fl"), out=tmp_path / "one")
    compare(settings, ["classic-fl"], out=tmp_path / "both")
    sweep: dict[str, Any] = {"out": tmp_path / "sweep", "bits": [8], "views": [1], "fronts": ["random"]}
    frontier(settings, **sweep)
    paint(data / PICTURE)
    with pytest.raises(ConfigError) as caught:
        run(settings.for_method("classic-fl"), out=tmp_path / "one", resume=True)
    assert told(caught.value, tmp_path / "one") == ["training pictures"]
    with pytest.raises(ConfigError) as caught:  # before "ecofed" is trained
        compare(settings, ["ecofed", "classic-fl"], out=tmp_path / "both", resume=True)
    assert told(caught.value, tmp_path / "both" / "classic-fl") == ["training pictures"]
    assert not (tmp_path / "both" / "ecofed").exists()
    with pytest.raises(ConfigError, match="what its run read has changed since: training pictures"):
        frontier(settings, resume=True, **sweep)


def test_the_command_line_refuses_with_exit_code_2(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(config_of(data), tmp_path / "run")
    paint(data / PICTURE)
    words = [
        word for key, value in (BASE | {"data.name": data, "rounds": 2}).items() for word in ("--set", f"{key}={value}")
    ]
    arguments = [*words, "--set", "method=classic-fl", "--out", str(tmp_path / "run"), "--resume"]
    monkeypatch.setattr(sys, "argv", ["ecofed", "run", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {tmp_path / 'run'}: what its run read has changed since: training pictures (")


def test_files_that_hold_the_same_pictures_are_the_same_data(data: Path, tmp_path: Path) -> None:
    config = config_of(data)
    whole = run(config)
    folder = stopped(config, tmp_path / "run")
    for file in data.rglob("*.png"):
        with Image.open(file) as image:
            image.load()
        image.save(file, compress_level=1)
        os.utime(file, (0, 0))
    assert outcome(run(config, out=folder, resume=True)) == outcome(whole)


# --- what else is read ---


def profile(file: Path, memory: int) -> str:
    values = vars(load_device("raspberry-pi-4")) | {"memory_bytes": memory}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key != "name" and value is not None]
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


def trace(file: Path, last: int) -> str:
    file.write_text(f"device,first_round,last_round\n3,1,{last}\n", encoding="utf-8")
    return str(file)


def front(file: Path, seed: int, config: Config) -> str:
    made = random_front(config.model, 1, seed, normalisation="frozen")
    FrontBundle(**{**vars(made), "card": {"origin": "pre-trained"}}).save(file)
    return str(file)


@pytest.mark.ci
def test_profiles_traces_and_fronts_belong_to_a_run(data: Path, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("pi.toml", "times.csv", "front.safetensors")]

    def write(version: int) -> dict[str, object]:
        return {
            "clock__device": f"{profile(places[0], 10**9 + version)}:2,raspberry-pi-5",
            "availability__trace": trace(places[1], 1 + version),
            "front__name": front(places[2], version, config_of(data)),
        }

    config = config_of(data, "ecofed", **write(0))
    folder = stopped(config, tmp_path / "run")
    write(1)
    with pytest.raises(ConfigError) as caught:
        run(config, out=folder, resume=True)
    assert told(caught.value, folder) == ["front", f"device profile {places[0]}", f"availability trace {places[1]}"]
    write(0)
    result = run(config, out=folder, resume=True)
    kinds = {name.partition(" profile")[0].partition(" trace")[0] for name in result.inputs}
    assert kinds == {
        *("training pictures", "training labels", "test pictures", "test labels", "classes", "division of the data"),
        *("front", "device", "link", "server", "availability"),
    }
    write(1)
    with pytest.raises(ConfigError) as caught:
        run(config, out=folder, resume=True)
    assert told(caught.value, folder) == ["front", f"device profile {places[0]}", f"availability trace {places[1]}"]


NETWORK = """
import ecofed
from torch import nn

@ecofed.register_network("mine", cut="0")
def mine(in_channels, classes, width, head_width):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(4 * 30 * 30, classes)))
"""


@pytest.mark.parametrize("saved", ["a checkpoint", "nothing yet", "the result"])
def test_the_text_of_a_plug_in_belongs_to_a_run(saved: str, data: Path, tmp_path: Path) -> None:
    changes = {"model__name": "mine", "model__width": 1, "initialisation": "random"}
    folder, file = tmp_path / "run", tmp_path / "mine.py"
    file.write_text(NETWORK, encoding="utf-8")
    with registry.only_here():
        registry.load_plugin(file)
        config = config_of(data, **changes)
        if saved == "the result":
            result = run(config, out=folder)
            assert result.inputs["plug-in mine.py"] == registry.load_plugin(file).digest
        else:
            with pytest.raises(KeyboardInterrupt):
                run(config, out=folder, observer=StopAfter(2 if saved == "a checkpoint" else 1))
    file.write_text(NETWORK.replace("4 * 30 * 30", "30 * 30 * 4"), encoding="utf-8")
    with registry.only_here():
        registry.load_plugin(file)
        with pytest.raises(ConfigError, match=r"^this was made with another version of the plug-in mine\.py"):
            run(config_of(data, **changes), out=folder, resume=True)


# --- folders of earlier versions ---


def forget(folder: Path, name: str) -> None:
    """As a version wrote it that recorded no fingerprints."""
    values = json.loads((folder / name).read_text(encoding="utf-8"))
    del values["inputs"]
    (folder / name).write_text(json.dumps(values), encoding="utf-8")


def test_folders_without_fingerprints_are_continued_with_a_note(data: Path, tmp_path: Path) -> None:
    config = config_of(data)
    whole = run(config, out=tmp_path / "done")
    forget(tmp_path / "done", "result.json")
    folder = stopped(config, tmp_path / "run")
    checkpoint = Checkpoint.read(folder, config.to_dict())
    assert checkpoint is not None
    Checkpoint(**{**vars(checkpoint), "inputs": {}}).write(folder)
    for place in (folder, tmp_path / "done"):
        observer = StopAfter()
        assert outcome(run(config, out=place, resume=True, observer=observer)) == outcome(whole)
        assert [note for note in observer.notes if "did not record what a run reads" in note] == [
            f"{place}: its run began with a version of ecofed that did not record what a run reads; whether data, "
            "front and profiles are still the same is not known"
        ]


def test_what_is_finished_is_shown_where_the_data_are_not(data: Path, tmp_path: Path) -> None:
    config, observer = config_of(data, rounds=1), StopAfter()
    first = run(config, out=tmp_path / "run")
    shutil.rmtree(data)
    assert outcome(run(config, out=tmp_path / "run", resume=True, observer=observer)) == outcome(first)
    assert len(observer.notes) == 1
    assert observer.notes[0].startswith(
        f"{tmp_path / 'run'}: what its run read cannot be compared with what is here now ("
    )


# --- reports ---


def test_a_joined_report_says_which_inputs_differ(data: Path, tmp_path: Path) -> None:
    config = config_of(data, rounds=1)
    one = run(config, out=tmp_path / "a")
    run(config, out=tmp_path / "b")
    assert joined([tmp_path / "a", tmp_path / "b"]).notes == []
    paint(data / "test" / "class0" / "1.png")
    other = run(config_of(data, "ecofed", rounds=1), out=tmp_path / "c")
    then, now = (result.inputs["test pictures"][:12] for result in (one, other))
    notes = joined([tmp_path / "a", tmp_path / "b", tmp_path / "c"]).notes
    assert notes == [f"the runs differ in test pictures: {then} (classic-fl); {now} (ecofed)"]
    forget(tmp_path / "b", "result.json")
    assert joined([tmp_path / "a", tmp_path / "b"]).notes == [
        "what 1 of the 2 runs read was not recorded (by an earlier version); whether it was the same is not known"
    ]


@pytest.mark.ci
def test_a_comparison_says_which_methods_were_put_to_another_task(data: Path, tmp_path: Path) -> None:
    settings = settings_of(data, rounds=1, **{"send-images.seed": 3, "send-images.sampled_devices": 1})
    found = compare(settings, ["classic-fl", "send-images"], out=tmp_path / "both")
    assert [note.partition(":")[0] for note in found.notes] == [
        "the runs differ in sampled_devices",
        "the runs differ in their seeds, which deal out data and devices",
    ]


def test_data_that_change_while_a_comparison_runs_are_told(data: Path, tmp_path: Path) -> None:
    class PaintAfterTheFirst(SilentObserver):
        def finished(self, result: RunResult) -> None:
            if result.method == "classic-fl":
                paint(data / PICTURE)

    found = compare(
        settings_of(data, rounds=1), ["classic-fl", "ecofed"], out=tmp_path / "both", observer=PaintAfterTheFirst()
    )
    then, now = (result.inputs["training pictures"][:12] for result in found.results)
    assert found.notes == [f"the runs differ in training pictures: {then} (classic-fl); {now} (ecofed)"]
    kept = load(tmp_path / "both")
    assert isinstance(kept, Comparison)
    assert kept.notes == found.notes


def test_a_run_does_not_go_on_in_the_precision_of_another_processor(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "native_precision", lambda _: "float32")
    config = config_of(data, precision="auto")
    folder = stopped(config, tmp_path / "run")
    monkeypatch.setattr(preparation, "native_precision", lambda _: "bfloat16")
    with pytest.raises(ConfigError, match=r"precision on the server \(float32 then, bfloat16 now\)"):
        run(config, out=folder, resume=True, report=False)
    monkeypatch.setattr(preparation, "native_precision", lambda _: "float32")
    assert len(run(config, out=folder, resume=True, report=False).rounds) == 2
