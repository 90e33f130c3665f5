"""Reports on runs that go on, on sweeps, and on runs of several folders."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecofed.cli import main
from ecofed.errors import EcoFedError
from ecofed.files.disk import json_text, write_json
from ecofed.reports.files import write_result, write_summary
from ecofed.reports.frontiers import Frontier, Point, read_frontier
from ecofed.reports.joining import joined, load, run_folders
from ecofed.reports.tables import plain_text
from ecofed.reports.unfinished import totals_of, write_unfinished
from ecofed.reports.words import accuracy_sentence, doubts
from ecofed.results import Comparison, RunResult

Make = Callable[..., RunResult]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Any]:
    """``ecofed report WORDS`` in an empty folder: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ecofed", "report", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, told.err

    return run


def leave_unfinished(result: RunResult, folder: Path, rounds: int, *, torn: str = "") -> None:
    """A folder as it is while a run goes on, after so many rounds."""
    folder.mkdir(parents=True, exist_ok=True)
    write_unfinished(result, folder)
    lines = [json_text(record.to_dict()) + "\n" for record in result.rounds[:rounds]]
    (folder / "metrics.jsonl").write_text("".join(lines) + torn)


def test_a_run_that_goes_on_is_a_result_of_its_rounds_so_far(make: Make, tmp_path: Path) -> None:
    whole = make(rounds=20)
    leave_unfinished(whole, tmp_path, 7, torn='{"round": 8, "devi')
    found = load(tmp_path)
    assert isinstance(found, RunResult)
    assert found.rounds == whole.rounds[:7]
    assert found.config == whole.config
    assert found.totals.uplink_bytes == sum(record.uplink_bytes for record in whole.rounds[:7])
    last = [record.test_accuracy for record in whole.rounds[2:7] if record.test_accuracy is not None]
    assert found.totals.final_test_accuracy == pytest.approx(sum(last) / 5)
    assert found.notes[-1] == (
        "not finished: these are 7 of 20 rounds; the same command with --resume continues the run"
    )


def test_totals_of_rounds_are_those_of_the_finished_run(make: Make) -> None:
    whole = make(rounds=9, simulated=True)
    told = totals_of(whole.rounds, whole.totals.wall_seconds)
    assert told.uplink_bytes == whole.totals.uplink_bytes
    assert told.final_test_accuracy == pytest.approx(whole.totals.final_test_accuracy)
    assert totals_of([], 0).best_test_accuracy == 0


def test_before_the_first_test_there_is_nothing_to_report(make: Make, tmp_path: Path) -> None:
    untested = make(rounds=12, every=6)
    for rounds in (0, 3):
        leave_unfinished(untested, tmp_path, rounds)
        with pytest.raises(EcoFedError, match="no round of this run has been tested yet"):
            load(tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    with pytest.raises(EcoFedError, match="no round of this run has been tested yet"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("line", "problem"),
    [("nonsense\n", "line 2"), ('{"round": 3}\n', "unfinished.json"), ("[]\n", "unfinished.json")],
)
def test_records_that_are_none_are_one_line(line: str, problem: str, make: Make, tmp_path: Path) -> None:
    leave_unfinished(make(rounds=5), tmp_path, 1, torn=line)
    with pytest.raises(EcoFedError, match=problem) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_command_reports_on_a_run_that_goes_on(report: Callable[..., Any], make: Make, tmp_path: Path) -> None:
    leave_unfinished(make(rounds=20), tmp_path / "run", 6)
    code, out, _ = report("run")
    assert code == 0
    assert "note: not finished: these are 6 of 20 rounds" in out
    assert "not finished: these are 6 of 20 rounds" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "plots" / "accuracy-bytes.png").stat().st_size > 1000
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_comparison_that_goes_on_is_what_its_folders_hold(make: Make, tmp_path: Path) -> None:
    write_result(make("lgl"), tmp_path / "lgl")
    write_result(make("classic-fl"), tmp_path / "classic-fl")
    leave_unfinished(make("ecofed"), tmp_path / "ecofed", 5)
    (tmp_path / "plots").mkdir()
    found = load(tmp_path)
    assert isinstance(found, Comparison)
    assert [result.method for result in found.results] == ["classic-fl", "lgl", "ecofed"]
    assert found.notes == [
        "ecofed: not finished: these are 5 of 20 rounds; the same command with --resume continues the run"
    ]


def test_joined_runs_stand_side_by_side(report: Callable[..., Any], make: Make, tmp_path: Path) -> None:
    write_summary(Comparison(results=[make("classic-fl"), make("ecofed")]), tmp_path / "a")
    write_result(make("ecofed", codec__bits=7), tmp_path / "b")
    leave_unfinished(make("fedgkt"), tmp_path / "c", 4)
    code, out, _ = report("a", "b", "c")
    assert code == 0
    for label in ("classic-fl", "ecofed bits=7", "fedgkt"):
        assert label in out
    assert "fedgkt: not finished" in out
    assert "differ" not in out
    assert out.splitlines()[-1] == "runs/report/report.html"
    assert not (tmp_path / "a" / "report.html").exists()
    assert report("a", "b", "--out", "b")[0] == 0  # a folder of its own runs may hold the page
    assert report("a", "b", "--out", "both")[0] == 0
    assert (tmp_path / "both" / "report.html").exists()
    code, _, err = report("a", "b", "--out", "c")
    assert code == 2
    assert err == "error: c holds unfinished.json of a run; choose another folder with --out\n"


def changed_data(result: RunResult, **changes: Any) -> RunResult:
    return dataclasses.replace(result, data=dataclasses.replace(result.data, **changes))


def test_all_test_sets_are_named(make: Make) -> None:
    first = make()
    sentence = accuracy_sentence(Comparison(results=[first, changed_data(first, test_samples=8000), first]))
    assert sentence.endswith(f"on {first.data.test_samples:,} test images or 8,000 test images")


def test_what_does_not_compare_is_said(report: Callable[..., Any], make: Make, tmp_path: Path) -> None:
    for name, result in {
        "a": make("classic-fl"),
        "other data": changed_data(make("ecofed", data__name="cifar10"), name="CIFAR-10"),
        "other partition": make("ecofed", data__partition="iid", data__alpha=0.7),
        "other seed": make("ecofed", seed=3),
        "other devices": make("ecofed", devices=10),
        "other deal": changed_data(make("ecofed"), label_counts=[[1] * 10] * 20),
    }.items():
        write_result(result, tmp_path / name)
    told = {name: joined([tmp_path / "a", tmp_path / name]).notes for name in os.listdir(tmp_path)}
    assert told["other data"] == [
        "the runs differ in data: Fashion-MNIST (classic-fl); CIFAR-10 (ecofed)",
        "the runs differ in data.name: fashion-mnist (classic-fl); cifar10 (ecofed)",
    ]
    assert told["other partition"][0] == "the runs differ in data.partition: shards (classic-fl); iid (ecofed)"
    assert told["other partition"][1].startswith("the runs differ in data.alpha: ")
    assert told["other seed"] == [
        "the runs differ in their seeds, which deal out data and devices: classic-fl 0; ecofed 3"
    ]
    assert "the runs differ in devices: 20 (classic-fl); 10 (ecofed)" in told["other devices"]
    assert told["other deal"] == [
        "the runs have the same settings for data and devices, yet the devices held other images"
    ]
    _, out, _ = report("a", "other seed")
    assert "note: the runs differ in their seeds" in out
    assert "the runs differ in their seeds" in (tmp_path / "runs/report/report.html").read_text()


def test_seeds_of_one_setting_are_one_row(make: Make, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_result(make("ecofed", seed=seed), tmp_path / str(seed))
    found = joined([tmp_path / str(seed) for seed in (0, 1, 2)])
    assert [row["seeds"] for row in found.rows()] == [[0, 1, 2]]
    assert found.notes == []


def test_a_seed_that_is_there_twice_is_no_second_seed(make: Make, tmp_path: Path) -> None:
    write_result(make("ecofed"), tmp_path / "a")
    again = make("ecofed")
    write_result(dataclasses.replace(again, totals=dataclasses.replace(again.totals, wall_seconds=1.0)), tmp_path / "b")
    write_result(make("ecofed", seed=1), tmp_path / "c")
    twice = joined([tmp_path / "a", tmp_path / "a"])
    assert doubts(twice) == ["ecofed: the run with seed 0 is named 2 times, and counts so often"]
    assert "ecofed (2 runs)" in plain_text(twice)
    other = joined([tmp_path / name for name in "abc"])
    assert doubts(other) == ["ecofed: 2 runs have seed 0; their mean is none over seeds"]
    assert "ecofed (3 runs)" in plain_text(other)


def sweep(make: Make, folder: Path) -> Frontier:
    points = []
    for bits in (2, 8):
        result = make("ecofed", codec__bits=bits)
        write_result(result, folder / f"bits={bits}")
        points.append(
            Point(
                label=f"ecofed bits={bits}",
                method="ecofed",
                final_test_accuracy=result.totals.final_test_accuracy,
                total_bytes=result.total_bytes,
                bytes_per_device=result.total_bytes / 20,
                uplink_bytes_per_device=result.totals.uplink_bytes / 20,
                images_leave_device=False,
                efficient=True,
                result=f"bits={bits}/result.json",
            )
        )
    made = Frontier(points=points, raw_image_bytes_per_device=1e6, compressed_image_bytes_per_device=None, notes=["n"])
    write_json(folder / "frontier.json", made.to_dict())
    return made


def test_a_frontier_is_reported_on(report: Callable[..., Any], make: Make, tmp_path: Path) -> None:
    made = sweep(make, tmp_path / "sweep")
    code, out, _ = report("sweep")
    assert code == 0
    assert "ecofed bits=2" in out
    assert "every image once (raw)" in out
    assert out.splitlines()[-3:] == ["note: n", "sweep/frontier.png", "sweep/report.html"]
    assert (tmp_path / "sweep" / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert "ecofed bits=8" in (tmp_path / "sweep" / "report.html").read_text()
    assert json.loads(report("sweep", "--json")[1]) == made.to_dict()


def test_a_sweeps_runs_bear_its_names_for_them(report: Callable[..., Any], make: Make, tmp_path: Path) -> None:
    named = dataclasses.asdict(sweep(make, tmp_path / "sweep").points[0]) | {"label": "paper"}
    values = read_frontier(tmp_path / "sweep")[0].to_dict()
    write_json(tmp_path / "sweep" / "frontier.json", values | {"points": [named, *values["points"][1:]]})
    found = load(tmp_path / "sweep")
    assert isinstance(found, Comparison)
    assert [group.label for group in found.groups()] == ["paper", "ecofed bits=8"]
    write_result(make("classic-fl"), tmp_path / "other")
    both = joined([tmp_path / "sweep", tmp_path / "other"])
    assert [group.label for group in both.groups()] == ["paper", "ecofed bits=8", "classic-fl"]
    assert "paper" in report("sweep", "--table", "csv")[1]
    assert run_folders(tmp_path / "sweep") == [tmp_path / "sweep" / f"bits={bits}" for bits in (2, 8)]


def test_a_sweep_that_goes_on_is_what_its_folders_hold(make: Make, tmp_path: Path) -> None:
    sweep(make, tmp_path)
    (tmp_path / "frontier.json").unlink()
    found = load(tmp_path)
    assert isinstance(found, Comparison)
    assert [group.label for group in found.groups()] == ["ecofed bits=2", "ecofed bits=8"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"points": []}, "'points' is empty"),
        ({"points": 3}, "'points' must be a list"),
        ({"schema": "else"}, "its schema is 'else'"),
    ],
)
def test_a_frontier_edited_by_hand_is_one_line(
    change: dict[str, Any], problem: str, report: Callable[..., Any], make: Make, tmp_path: Path
) -> None:
    write_json(tmp_path / "sweep" / "frontier.json", sweep(make, tmp_path / "sweep").to_dict() | change)
    code, _, err = report("sweep")
    assert code == 1
    assert err.startswith(f"error: sweep/frontier.json: {problem}")
    assert err.count("\n") == 1


def test_a_frontier_names_no_file_outside_of_its_folder(report: Callable[..., Any], make: Make, tmp_path: Path) -> None:
    values = sweep(make, tmp_path / "sweep").to_dict()
    values["points"][0]["result"] = "../bits=2/result.json"
    write_json(tmp_path / "sweep" / "frontier.json", values)
    assert "must hold paths inside this folder" in report("sweep")[2]
