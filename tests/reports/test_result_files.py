import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecofed.config import Config
from ecofed.errors import ConfigError, EcoFedError, MissingExtraError
from ecofed.errors.installation import install_command
from ecofed.files.disk import write_json
from ecofed.reports.files import read_result, read_summary, write_result, write_summary
from ecofed.reports.joining import load
from ecofed.results import Comparison, RunResult
from ecofed.runs.comparing import places_of, told_what_is_kept

Make = Callable[..., RunResult]


def test_a_result_survives_the_disk(make: Make, tmp_path: Path) -> None:
    result = make(every=3, simulated=True, round_notes={2: ["device 3 was away"]})
    file = write_result(result, tmp_path / "new" / "folder")
    assert read_result(file) == read_result(file.parent) == load(file.parent) == load(file) == result
    assert [path.name for path in file.parent.iterdir()] == ["result.json"]


def test_a_comparison_survives_the_disk(five_methods: Comparison, tmp_path: Path) -> None:
    write_summary(five_methods, tmp_path)
    assert load(tmp_path) == read_summary(tmp_path / "summary.json") == five_methods
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["schema"] == "ecofed-summary/1"
    assert [run["result"] for run in summary["runs"]] == [f"{r.method}/result.json" for r in five_methods.results]
    ecofed = summary["rows"][-1]
    assert ecofed["total_bytes"] == five_methods.results[-1].total_bytes
    ratio = five_methods.results[0].total_bytes / five_methods.results[-1].total_bytes
    assert ecofed["times_fewer_bytes_than_classic_fl"] == ratio
    assert summary["floors"]["raw_bytes"] == 6000 * 784


def test_seeds_and_variants_have_folders_of_their_own(make: Make, tmp_path: Path) -> None:
    runs = [make("classic-fl"), make(seed=0), make(seed=1), make(ecofed__period=4), make(ecofed__period=4)]
    comparison = Comparison(results=runs)
    folders = comparison.folders()
    assert folders[:4] == [
        "classic-fl",
        "ecofed-period=2-seed=0",
        "ecofed-period=2-seed=1",
        "ecofed-period=4-seed=0",
    ]
    assert len(set(folders)) == 5
    write_summary(comparison, tmp_path)
    assert load(tmp_path) == comparison


def test_what_is_finished_stays_where_it_is_when_seeds_are_added_or_left_out(make: Make, tmp_path: Path) -> None:
    zero, one = Config(seed=0), Config(seed=1)

    def places(*configs: Config, resume: bool = True) -> list[str]:
        return [place.name for place in places_of(tmp_path, configs, resume=resume)]

    assert places(zero, one) == ["ecofed-seed=0", "ecofed-seed=1"]
    write_result(make(seed=0), tmp_path / "ecofed")
    write_result(make(seed=1), tmp_path / "ecofed-seed=1")
    assert places(zero, one, resume=False) == ["ecofed-seed=0", "ecofed-seed=1"]
    assert places(zero, one) == ["ecofed", "ecofed-seed=1"]
    assert places(one) == ["ecofed-seed=1"]
    both = Comparison(results=[make(seed=0), make(seed=1)])
    write_summary(both, tmp_path, places(zero, one))
    assert load(tmp_path) == both
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ecofed", "ecofed-seed=1", "summary.json"]


def test_groups_name_what_differs(three_seeds: Comparison, make: Make) -> None:
    groups = three_seeds.groups()
    assert [(group.label, len(group.results)) for group in groups] == [("classic-fl", 3), ("ecofed", 3)]
    spread = groups[1].spread(lambda result: result.totals.final_test_accuracy)
    values = [result.totals.final_test_accuracy for result in groups[1].results]
    assert (spread.low, spread.high) == (min(values), max(values))
    assert spread.mean == pytest.approx(sum(values) / 3)
    variants = Comparison(results=[make(codec__bits=b, seed=s) for b, s in ((4, 0), (2, 0), (2, 3))]).groups()
    assert [group.label for group in variants] == ["ecofed bits=4", "ecofed bits=2"]
    with pytest.raises(ConfigError, match="at least one result"):
        Comparison(results=[])


def test_a_loss_that_diverged_is_written_as_null(tmp_path: Path) -> None:
    file = write_json(tmp_path / "x.json", {"loss": [float("nan"), 1.5, float("inf")], "text": "ü\ud800"})
    assert json.loads(file.read_text()) == {"loss": [None, 1.5, None], "text": "ü\ud800"}


def test_a_failed_write_leaves_the_old_file(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(EcoFedError, match="cannot be written"):
        write_result(make(), tmp_path / "file" / "below")
    file = write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(file, {"a": object()})
    assert json.loads(file.read_text()) == {"a": 1}


def edit(values: dict[str, Any], path: list[Any], value: Any) -> None:
    for part in path[:-1]:
        values = values[part]
    if value is None:
        del values[path[-1]]
    else:
        values[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["schema"], "ecofed-result/9", "schema is 'ecofed-result/9'"),
        (["schema"], None, "schema is None"),
        (["totals", "wall_seconds"], None, "lacks the field 'wall_seconds'"),
        (["totals"], [], "'totals' must be an object"),
        (["rounds", 3, "uplink_bytes"], "many", r"'rounds\[3\].uplink_bytes' must be a whole number, not 'many'"),
        (["rounds", 3, "uplink_bytes"], True, r"'rounds\[3\].uplink_bytes' must be a whole number, not true"),
        (["rounds", 3, "uplink_bytes"], -5, r"'rounds\[3\].uplink_bytes' must be in 0\.\..*, not -5"),
        (["rounds", 0, "test_accuracy"], 1.5, r"'rounds\[0\].test_accuracy' must be in 0\.\.1, not 1.5"),
        (["rounds", 0, "round"], 7, "'rounds' must count from 1"),
        (["rounds", 0, "timeline"], [["server", "train", 2, 1]], "'timeline' must hold"),
        (["rounds", 0, "timeline"], [[["3"], "train", 1, 2]], "'timeline' must hold"),
        (["rounds"], [], "'rounds' is empty"),
        (["ledger", "labels"], {"sideways": 1}, "'ledger' must have uplink and downlink"),
        (["config", "model"], 3, "'config.model' must be an object"),
        (["config", "model", "width"], "wide", "config: model.width = 'wide': must be a number"),
        (["data", "classes"], ["cat", None], r"'data.classes\[1\]' must be text, not null"),
        (["seed"], 10**40, "a whole number of 41 digits"),
        (["totals", "wall_seconds"], -1.0, "'totals.wall_seconds' must be in 0"),
        (["rounds", 0, "devices"], [1, 2.5], r"'rounds\[0\].devices\[1\]'"),
        (["rounds", 0, "surprise"], 1, "unknown field 'surprise'"),
        (["ledger", "labels", "uplink"], 1.5, "'ledger.labels.uplink' must be a whole number"),
        (["totals", "final_test_accuracy"], 1e999, "holds Infinity, which is not JSON"),
        (["data", "label_counts"], [[1, 2]], "one count for each"),
    ],
)
def test_a_malformed_result_is_one_line(make: Make, tmp_path: Path, path: list[Any], value: Any, words: str) -> None:
    values = make().to_dict()
    edit(values, path, value)
    file = tmp_path / "result.json"
    file.write_text(json.dumps(values))
    with pytest.raises(EcoFedError, match=words) as caught:
        read_result(tmp_path)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[]", "null", '{"schema": "ecofed-result/1"}', "\udcff"])
def test_garbage_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "result.json"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(EcoFedError) as caught:
        load(tmp_path)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_summary_names_only_files_below_it(make: Make, five_methods: Comparison, tmp_path: Path) -> None:
    write_result(make(), tmp_path)
    file = write_summary(five_methods, tmp_path / "compare")
    for place in ("../result.json", "/etc/passwd", 3):
        values = json.loads(file.read_text())
        values["runs"][0] = {"result": place}
        file.write_text(json.dumps(values))
        with pytest.raises(EcoFedError, match="inside this folder"):
            load(file.parent)


def test_missing_files_say_what_was_expected(five_methods: Comparison, tmp_path: Path) -> None:
    with pytest.raises(EcoFedError, match=r"neither summary.json nor result.json"):
        load(tmp_path)
    with pytest.raises(EcoFedError, match="no such file"):
        read_result(tmp_path)
    write_summary(five_methods, tmp_path)
    (tmp_path / "lgl" / "result.json").unlink()
    with pytest.raises(EcoFedError, match=r"lgl.result\.json: no such file"):
        load(tmp_path)


def test_frames(three_seeds: Comparison, make: Make) -> None:
    frame = make(rounds=7).to_pandas()
    assert frame["round"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert frame["uplink_bytes"].sum() == make(rounds=7).totals.uplink_bytes
    table = three_seeds.to_pandas()
    assert table["method"].tolist() == ["classic-fl", "ecofed"]
    assert (table["final_test_accuracy_low"] <= table["final_test_accuracy"]).all()


def test_frames_without_pandas(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=re.escape(install_command("pandas"))):
        make().to_pandas()


@pytest.mark.parametrize("place", ["x" * 5000, "a\0b", "", "lgl", "\x1b[2J"])
def test_a_summary_that_names_no_file(place: str, five_methods: Comparison, tmp_path: Path) -> None:
    file = write_summary(five_methods, tmp_path)
    values = json.loads(file.read_text())
    values["runs"][0] = {"result": place}
    file.write_text(json.dumps(values))
    if place == "lgl":  # a folder is read for the result in it
        assert isinstance(load(tmp_path), Comparison)
        return
    with pytest.raises(EcoFedError) as caught:
        load(tmp_path)
    assert str(caught.value).isprintable()


def test_where_one_of_several_fails_the_others_are_told_of(make: Make, tmp_path: Path) -> None:
    said: list[str] = []
    places = [tmp_path / name for name in ("classic-fl", "lgl", "ecofed")]
    for done in (1, 3):
        for place in places[:done]:
            write_result(make(), place)
        with pytest.raises(EcoFedError, match="odd"), told_what_is_kept(tmp_path, places, said.append):
            raise EcoFedError("odd")
    assert said == [
        f"finished and kept: classic-fl; not finished: lgl, ecofed; 'ecofed report {tmp_path}' shows what there is, "
        "the same command with --resume goes on"
    ]
