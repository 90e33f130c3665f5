"""Another back from a kept buffer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from again import kept_config
from PIL import Image
from safetensors.numpy import load_file

import ecofed
from ecofed.errors import CheckpointError, ConfigError
from ecofed.relearning.retraining import NoDevices, replayable, retrain
from ecofed.reports.files import read_result
from ecofed.reports.html import report_html
from ecofed.results import Comparison, RunResult
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import open_buffer
from stopping import StopAfter


def assert_same_network(one: Path, other: Path) -> None:
    first, second = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


class Heard(ecofed.SilentObserver):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def accuracies(result: RunResult) -> list[float | None]:
    return [record.test_accuracy for record in result.rounds]


def test_as_uploaded_and_unchanged_it_is_the_runs_own_network(collected: Path, tmp_path: Path) -> None:
    again = retrain(collected, out=tmp_path / "again", order="as-uploaded")
    assert_same_network(tmp_path / "again", collected)
    assert accuracies(again) == accuracies(read_result(collected))
    assert again.total_bytes == 0
    assert not any(sum(row.values()) for row in again.ledger.values())
    assert [record.devices for record in again.rounds] == [[]] * 4


def test_what_changes_nothing_is_said(collected: Path) -> None:
    heard = Heard()
    sets = ["ecofed.server=fedavg", "ecofed.mixup=0.4", "local_epochs=2", "rounds=1"]
    retrain(collected, sets=sets, observer=heard)
    assert heard.notes[:2] == [
        "ecofed.mixup=0.4 changes nothing: it needs ecofed.server=pooled",
        "local_epochs=2 changes nothing: devices of ecofed do not train",
    ]


def test_an_earlier_result_that_cannot_be_read_is_said(copied: Callable[[str], Path]) -> None:
    """One that is not there any more is none."""
    source, heard = copied("run"), Heard()
    (source / "result.json").write_text("{")
    learned = retrain(source, sets=["rounds=1"], observer=heard)
    (note,) = [text for text in heard.notes if "result.json" in text]
    assert note in learned.notes
    assert "is not valid JSON" in note
    assert "nothing is compared with that run" in note
    (source / "result.json").unlink()
    assert not [text for text in retrain(source, sets=["rounds=1"]).notes if "result.json" in text]


def test_other_test_pictures_than_those_of_the_run_are_said(tmp_path: Path) -> None:
    """Of class folders without ``test/``, pictures that were uploaded may be tested on once others have come."""
    for number in range(30):
        file = tmp_path / "pets" / ("ant", "bee")[number % 2] / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32), 8 * number).save(file)
    keys: dict[str, Any] = {"data__name": str(tmp_path / "pets"), "data__partition": "iid", "devices": 2, "rounds": 1}
    run(kept_config(**keys), out=tmp_path / "run", report=False, command="ecofed run")
    assert not [text for text in retrain(tmp_path / "run").notes if "test pictures" in text]
    for number in range(10):
        Image.new("L", (32, 32), 8 * number + 4).save(tmp_path / "pets" / "ant" / f"new{number}.png")
    (note,) = [text for text in retrain(tmp_path / "run").notes if "test pictures" in text]
    assert note.startswith(f"pets: its test pictures are not those of {tmp_path / 'run'} any more")


@pytest.mark.parametrize(
    "changes",
    [
        {"ecofed__views": 2, "ecofed__refresh": "spread", "quorum": 1, "availability__share": 0.6},
        {"ecofed__server": "fedavg", "ecofed__buffer": "disk", "front__name": "random", "initialisation": "front"},
        {"seed": 146, "data__partition": "dirichlet", "data__alpha": 0.01, "rounds": 2},
    ],
    ids=[
        "views that come one by one, rounds that were skipped",
        "averaged backs, from disk",
        "a round in which the only new device has no samples",
    ],
)
def test_other_runs_can_be_repeated_too(changes: dict[str, Any], tmp_path: Path) -> None:
    run(kept_config(**changes), out=tmp_path / "run", report=False)
    again = retrain(tmp_path / "run", out=tmp_path / "again", order="as-uploaded", report=False)
    assert_same_network(tmp_path / "again", tmp_path / "run")
    assert again.origin is not None
    assert again.origin["changed"] == {}


def test_what_is_set_anew_is_trained_from_everything_at_once(collected: Path, tmp_path: Path) -> None:
    sets = ["learning_rate=0.03", "rounds=3", "seed=5", "ecofed.optimiser=adamw", "ecofed.server_steps=4"]
    result = retrain(collected, out=tmp_path / "again", sets=sets, ecofed__sampling="class")
    assert result.total_bytes == 0
    assert result.origin is not None
    assert set(result.origin["changed"]) == {
        *("learning_rate", "rounds", "seed"),
        *("ecofed.optimiser", "ecofed.server_steps", "ecofed.sampling"),
    }
    before = read_result(collected)
    assert result.origin["uplink_bytes"] == before.totals.uplink_bytes
    assert result.origin["buffer"] == open_buffer(collected).digest()
    assert result.data.label_counts == before.data.label_counts
    page = (tmp_path / "again" / "report.html").read_text(encoding="utf-8")
    assert "Learned again from a kept buffer" in page
    assert "learned=all" in page
    assert "Learned again" not in report_html(Comparison(results=[before]), [])
    assert ecofed.evaluate(tmp_path / "again").samples > 100
    assert read_result(tmp_path / "again") == result


def test_a_narrower_back_from_the_same_codes(collected: Path, tmp_path: Path) -> None:
    narrow = retrain(collected, out=tmp_path / "narrow", sets=["model.back_width=0.125"])
    assert narrow.total_bytes == 0
    assert narrow.origin is not None
    assert narrow.origin["changed"] == {"model.back_width": [None, 0.125]}
    whole, own = (load_file(folder / "model.safetensors") for folder in (collected, tmp_path / "narrow"))
    assert own["model.head.hidden1.weight"].shape == (64, whole["model.head.hidden1.weight"].shape[1])
    for name in (name for name in whole if name.startswith("model.block")):
        np.testing.assert_array_equal(own[name], whole[name], err_msg=name)
    assert ecofed.evaluate(tmp_path / "narrow").samples > 100
    with pytest.raises(ConfigError, match=r"model.back_width = 9.0: must be above 0 and at most 8"):
        retrain(collected, model__back_width=9)


@pytest.mark.usefixtures("often_saved")
def test_stopped_and_continued_it_is_the_same(collected: Path, tmp_path: Path) -> None:
    whole = retrain(collected, out=tmp_path / "whole", report=False, learning_rate=0.02)
    with pytest.raises(KeyboardInterrupt):
        retrain(collected, out=tmp_path / "cut", report=False, learning_rate=0.02, observer=StopAfter(3))
    with pytest.raises(CheckpointError, match="differs in learning_rate"):
        retrain(collected, out=tmp_path / "cut", report=False, resume=True)
    with pytest.raises(ConfigError, match=r"has changed since: order of uploads \(all then, as-uploaded now\)"):
        retrain(collected, out=tmp_path / "cut", report=False, resume=True, learning_rate=0.02, order="as-uploaded")
    resumed = retrain(collected, out=tmp_path / "cut", report=False, resume=True, learning_rate=0.02)
    assert accuracies(resumed) == accuracies(whole)
    assert_same_network(tmp_path / "cut", tmp_path / "whole")
    assert not (tmp_path / "cut" / "kept").exists()


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("data.samples_per_device=3", r"data.samples_per_device = 3: the buffer was made with 12, and only what"),
        ("codec.bits=4", r"codec.bits = 4: the buffer was made with 2"),
        ("model.cut=block1", "model.cut = 'block1'"),
        ("devices=3", "devices = 3"),
        ("front.name=pretrain", "front.name = 'pretrain'"),
        ("learning_rat=1", r"unknown key 'learning_rat' \(did you mean 'learning_rate'"),
        ("learning_rate", r"must be key=value"),
    ],
)
def test_what_the_buffer_has_settled_is_refused(setting: str, reason: str, collected: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        retrain(collected, out=tmp_path / "again", sets=[setting])
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    ("keys", "reason"),
    [({"seed": 1}, "seed decides who is sampled"), ({"rounds": 1}, "its last upload came in round")],
)
def test_an_order_that_cannot_be_repeated(keys: dict[str, Any], reason: str, collected: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        retrain(collected, order="as-uploaded", **keys)


def test_uploads_that_were_replaced_cannot_be_repeated(tmp_path: Path) -> None:
    run(kept_config(ecofed__refresh="period", ecofed__period=1, rounds=3), out=tmp_path / "run", report=False)
    with pytest.raises(ConfigError, match="were replaced by later ones"):
        retrain(tmp_path / "run", order="as-uploaded")
    assert retrain(tmp_path / "run", rounds=1).total_bytes == 0


def test_a_buffer_that_lacks_a_whole_device_cannot_be_repeated(copied: Callable[[str], Path]) -> None:
    kept = open_buffer(copied("run"))
    assert not replayable(kept)
    kept.buffer.remove(3)  # as bounds may
    assert replayable(kept).startswith("the buffer is bounded, and does not hold all that device 3")


def test_a_random_front_is_the_buffers_whatever_the_seed(collected: Path, tmp_path: Path) -> None:
    retrain(collected, out=tmp_path / "again", seed=7, rounds=1, report=False)
    own, runs = load_file(tmp_path / "again" / "model.safetensors"), load_file(collected / "model.safetensors")
    fronts = [name for name in runs if name.startswith(("model.block1", "model.block2"))]
    assert len(fronts) > 1
    for name in fronts:
        np.testing.assert_array_equal(own[name], runs[name])


def test_the_run_itself_is_never_written_to(collected: Path, copied: Callable[[str], Path]) -> None:
    folder = copied("run")
    with pytest.raises(ConfigError, match="is the run that is learned from"):
        retrain(folder, out=folder, overwrite=True)
    retrain(folder, rounds=1)
    for path in collected.rglob("*"):
        assert path.is_dir() or path.read_bytes() == (folder / path.relative_to(collected)).read_bytes()


def test_a_retrained_run_keeps_no_buffer_of_its_own(collected: Path, tmp_path: Path) -> None:
    retrain(collected, out=tmp_path / "again", rounds=1, report=False)
    with pytest.raises(ConfigError, match="keeps no buffer"):
        retrain(tmp_path / "again")
    shutil.rmtree(tmp_path / "again")
    with pytest.raises(ecofed.EcoFedError, match="device 3 was asked by a run that learns from a kept buffer"):
        next(NoDevices().exchange_all([(3, [b""])], None))
