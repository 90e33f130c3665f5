"""The sweep: which points there are, which of them are efficient, and that it can be continued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecofed.config import Settings
from ecofed.config.problem import ModelConfig
from ecofed.errors import ConfigError
from ecofed.pretraining.bundling import random_front
from ecofed.runs.frontier import Frontier, _beats, frontier
from ecofed.runs.sweep import planned

pytestmark = pytest.mark.ci

TINY = [
    *("data.name=digits", "data.samples_per_device=20", "model.name=lenet", "model.width=0.5", "devices=4"),
    *("sampled_devices=2", "batch_size=8", "rounds=2", "test_samples=60", "front.name=random"),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_fronts_of_the_same_file_name_keep_their_own_folders(tmp_path: Path) -> None:
    random = random_front(ModelConfig(name="lenet", width=0.5), 1, 0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        random.save(tmp_path / name / "front.safetensors")
    fronts = [str(tmp_path / name / "front.safetensors") for name in ("a", "b")]
    made = sweep(tmp_path / "sweep", bits=[2], fronts=fronts, baselines=[])
    assert len({point.label for point in made.points}) == 2
    assert len({point.result for point in made.points}) == 2
    assert sweep(tmp_path / "sweep", bits=[2], fronts=fronts, baselines=[], resume=True) == made


def test_of_two_points_with_the_same_bytes_the_better_one_is_efficient() -> None:
    assert _beats((100, 0.5), (100, 0.4))
    assert not _beats((100, 0.4), (100, 0.5))
    assert not _beats((100, 0.5), (100, 0.5))
    assert not _beats((90, 0.4), (100, 0.5))


def sweep(folder: Path, *, resume: bool = False, **changes: object) -> Frontier:
    arguments = {"bits": [2, 8], "views": [1], "fronts": ["random"], "baselines": ["paper"]} | changes
    return frontier(Settings.load(None, TINY), out=folder, resume=resume, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("scope", ["", "ecofed."])
def test_what_is_swept_counts_more_than_what_is_set(scope: str) -> None:
    sets = [f"{scope}codec.bits=4", f"{scope}front.name=lenet-64b", f"{scope}codec.name=uniform", "ecofed.views=7"]
    settings = Settings.load(None, [*TINY, *sets])
    two, eight, paper = planned(settings, bits=[2, 8], views=[1], fronts=["random"], baselines=["paper"])
    assert [(run.config.codec.bits, run.config.front.name, run.config.ecofed.views) for run in (two, eight)] == [
        (2, "random", 1),
        (8, "random", 1),
    ]
    own = paper.config
    assert (own.codec.name, own.codec.bits, own.front.name, own.ecofed.views) == ("minmax", 8, "auto", 0)


def test_an_impossible_baseline_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    impossible = {
        "privacy.epsilon=8": "devices of lgl add no noise",
        "validation.fraction=0.1": "that of lgl keeps none",
    }
    for assignment, reason in impossible.items():
        with pytest.raises(ConfigError, match=reason):
            frontier(
                Settings.load(None, [*TINY, assignment]),
                out=tmp_path / "sweep",
                bits=[2],
                views=[1],
                fronts=["random"],
                baselines=["lgl"],
            )
    assert not (tmp_path / "sweep").exists()


def test_a_sweep_has_a_point_for_every_combination_and_can_be_continued(tmp_path: Path) -> None:
    first = sweep(tmp_path / "sweep")
    assert [point.label for point in first.points] == [
        "ecofed front=random bits=2 views=1",
        "ecofed front=random bits=8 views=1",
        "paper",
    ]
    assert first.points[0].bytes_per_device < first.points[1].bytes_per_device
    assert first.points[0].efficient
    for point in first.points:
        stored = json.loads((tmp_path / "sweep" / point.result).read_text())
        assert stored["totals"]["final_test_accuracy"] == point.final_test_accuracy
        assert point.bytes_per_device == point.total_bytes / 4
    assert json.loads((tmp_path / "sweep" / "frontier.json").read_text())["points"][0]["method"] == "ecofed"
    assert (tmp_path / "sweep" / "frontier.png").stat().st_size > 10_000
    again = sweep(tmp_path / "sweep", resume=True)
    assert again == first


def test_an_efficient_point_has_no_cheaper_rival_that_is_as_good(tmp_path: Path) -> None:
    points = sweep(tmp_path / "sweep", bits=[1, 4], views=[1, 0], baselines=[]).points
    assert any(point.efficient for point in points)
    for point in points:
        cheaper = [other for other in points if other.total_bytes < point.total_bytes]
        best = max((other.final_test_accuracy for other in cheaper), default=-1.0)
        assert point.efficient == (best < point.final_test_accuracy)


def test_a_front_without_these_bits_is_left_out_with_a_note(tmp_path: Path) -> None:
    narrow = ["model.name=vgg11", "data.name=digits"]
    with pytest.raises(ConfigError, match="no point of the sweep is possible"):
        frontier(Settings.load(None, [*TINY, *narrow]), out=tmp_path, bits=[], views=[1], fronts=["random"])
