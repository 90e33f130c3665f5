"""Experiment trackers: what they are told, a run that is resumed, one that fails, several runs at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ecofed
from ecofed.cli import main
from ecofed.errors import ConfigError, MissingExtraError
from ecofed.results import RoundRecord
from ecofed.runs.tracking import ENTRIES_FILE, TRACKERS, Tracked, chosen

#: Stands in for Weights & Biases: what it is told, as lines of JSON.
STAND_IN = """
import json, os

class Summary:
    def __init__(self, tell): self.update = lambda values: tell(summary=values)

class Run:
    def __init__(self, **options):
        self._id = options["id"]
        self.summary = Summary(self._tell)
        self._tell(init=options)
    def _tell(self, **event):
        with open(os.environ["TOLD"], "a") as lines: lines.write(json.dumps({"id": self._id, **event}) + "\\n")
    def log(self, values, step):
        if os.environ.get("FAILS_AT") == str(step): raise OSError("the server is gone")
        self._tell(step=step, **values)
    def finish(self): self._tell(finish=True)

def init(**options): return Run(**options)
"""
TINY = ["data.name=digits", "model.name=lenet", "model.width=0.25", "devices=4", "sampled_devices=2", "threads=1"]
TINY += ["front.name=random"]
SETS = [word for key in TINY for word in ("--set", key)]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for wandb is installed; returns what it was told so far."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "wandb.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("TOLD", str(tmp_path / "told.jsonl"))
    monkeypatch.chdir(tmp_path)

    def events() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]

    return events


def test_a_tracker_is_told_the_curves_the_keys_and_the_result(told: Any) -> None:
    settings = ecofed.Settings.load(None, [*TINY, "rounds=2"])
    result = ecofed.run(settings, observer=ecofed.tracked("wandb:mine"))
    begun, first, second, summary, finish = told()
    assert (begun["init"]["project"], begun["init"]["resume"]) == ("mine", "allow")
    assert (begun["init"]["config"]["model.width"], begun["init"]["config"]["rounds"]) == (0.25, 2)
    assert (first["step"], second["step"]) == (1, 2)
    assert second["test_accuracy"] == result.rounds[1].test_accuracy
    assert first["total_bytes"] < second["total_bytes"] == result.total_bytes
    assert second["uplink_bytes"] + second["downlink_bytes"] == result.total_bytes
    assert second["simulated_seconds"] == pytest.approx(result.totals.simulated_seconds)
    assert summary["summary"]["final_test_accuracy"] == result.totals.final_test_accuracy
    assert finish["finish"]
    assert len({event["id"] for event in told()}) == 1


def test_a_tracker_that_fails_is_given_up_with_a_note_and_the_run_goes_on(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS_AT", "2")
    settings = ecofed.Settings.load(None, [*TINY, "rounds=3"])
    with pytest.warns(ecofed.Notice, match="wandb is told nothing more about this run.*the server is gone"):
        result = ecofed.run(settings, observer=ecofed.tracked("wandb"))
    assert len(result.rounds) == 3
    assert [event.get("step") for event in told()] == [None, 1]


def test_a_resumed_run_goes_on_in_its_entry_and_another_one_has_its_own(told: Any, tmp_path: Path) -> None:
    settings = ecofed.Settings.load(None, TINY)
    config = settings.for_method("ecofed")
    record = RoundRecord(round=1, devices=[0], uplink_bytes=5, downlink_bytes=2, simulated_seconds=1.5)
    for before in ([], [record], []):
        observer = Tracked(ecofed.SilentObserver(), ["wandb"], tmp_path)
        observer.started(config, before)
        observer.round_finished(RoundRecord(round=2, devices=[0], uplink_bytes=10, downlink_bytes=1), 2)
    new, fresh, again, resumed, other, _ = told()
    assert new["init"]["id"] == again["init"]["id"] != other["init"]["id"]
    assert (fresh["total_bytes"], resumed["total_bytes"]) == (11, 18)
    assert resumed["simulated_seconds"] == 1.5
    (tmp_path / ENTRIES_FILE).write_text("{damaged")
    Tracked(ecofed.SilentObserver(), ["wandb"], tmp_path).started(config, [record])
    assert told()[-1]["init"]["id"] not in (new["id"], other["id"])


def test_runs_side_by_side_have_an_entry_each(told: Any, tmp_path: Path) -> None:
    settings = ecofed.Settings.load(None, TINY)
    whole = Tracked(ecofed.SilentObserver(), ["wandb"], tmp_path / "both")
    first, second = whole.beside(), whole.beside()
    first.started(settings.for_method("ecofed"), [])
    second.started(settings.for_method("closed-form"), [])
    first.round_finished(RoundRecord(round=1, devices=[0], uplink_bytes=10, downlink_bytes=1), 1)
    second.round_finished(RoundRecord(round=1, devices=[0], uplink_bytes=7, downlink_bytes=2), 1)
    names = {event["id"]: event["init"]["name"] for event in told() if "init" in event}
    assert sorted(names.values()) == ["both/closed-form/seed0", "both/ecofed/seed0"]
    moved = {names[event["id"]]: event["total_bytes"] for event in told() if "step" in event}
    assert moved == {"both/ecofed/seed0": 11, "both/closed-form/seed0": 9}


def test_the_command_line_switches_one_on(told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["ecofed", "run", *SETS, "--set", "rounds=1", "--track", "wandb:shelf", "--out", "one"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit, match="0"):
        main()
    assert told()[0]["init"]["project"] == "shelf"
    noted = json.loads((tmp_path / "one" / ENTRIES_FILE).read_text())
    assert list(noted.values()) == [told()[0]["id"]]


def test_an_unknown_tracker_and_one_that_is_not_installed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"no tracker is named 'wandbb' \(did you mean 'wandb'\?\)"):
        chosen("wandbb:mine")
    monkeypatch.setattr("ecofed.runs.tracking.find_spec", lambda _: None)
    for name in TRACKERS:
        with pytest.raises(MissingExtraError, match=rf"--track {name} needs the package '{name}': .*\[{name}\]"):
            ecofed.tracked(name)
