"""The command line with the real engine: a small run from its first round to the prediction of an image."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_fakes import Cli
from PIL import Image

import ecofed
from ecofed.config import Settings
from stopping import StopAfter

TINY = """
rounds = 3
devices = 4
sampled_devices = 2
batch_size = 10
test_samples = 50
initialisation = "random"

[model]
name = "lenet"
width = 0.5

[data]
name = "digits"
samples_per_device = 20
"""


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    (tmp_path / "tiny.toml").write_text(TINY)
    return "tiny.toml"


def test_run_then_evaluate_then_predict(cli: Cli, tiny: str, tmp_path: Path) -> None:
    ended = cli("run", tiny, "--set", "test_samples=1000", "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert result["command"] == "ecofed run tiny.toml --set test_samples=1000 --json"
    assert len(result["rounds"]) == 3

    folder = tmp_path / "runs/tiny-ecofed"
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == result["rounds"]

    # A run is tested on a fifth of the test images, or on the others; 'evaluate' uses all of them.
    other = cli("run", tiny, "--set", "test_samples=1000", "--set", "test_part=report", "--out", "other", "--json")
    last, of_others = (rounds[-1] for rounds in (result["rounds"], json.loads(other.out)["rounds"]))
    evaluation = json.loads(cli("evaluate", str(folder), "--json").out)
    assert evaluation["samples"] == 360
    for figure, key in (("accuracy", "test_accuracy"), ("loss", "test_loss")):
        assert evaluation[figure] == pytest.approx((72 * last[key] + 288 * of_others[key]) / 360)
    assert last["test_accuracy"] != of_others["test_accuracy"]
    scores = evaluation["scores"]
    assert scores["low"] < scores["accuracy"] == evaluation["accuracy"] < scores["high"]
    assert [sum(row) for row in scores["confusion"]] == scores["class_samples"]
    shown = cli("evaluate", str(folder)).out
    worst = min(scores["class_accuracy"])
    first = shown.splitlines()[3].split()
    assert first[2] == f"{worst:.3f}"
    assert scores["class_accuracy"][evaluation["classes"].index(first[0])] == worst
    assert "among" not in shown

    assert cli("run", tiny, "--set", "validation.fraction=0.5", "--set", "test_samples=40", "--out", "held").code == 0
    found = json.loads(cli("evaluate", "held", "--json").out)["recorded"]["held_out"]
    lines = cli("evaluate", "held").out.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.endswith("held out of uploads, as the run found"))
    assert (
        lines[at]
        == f"accuracy {found['accuracy']:.4f}  {found['samples']} samples held out of uploads, as the run found"
    )
    (among,) = (line for line in lines[at:] if line.startswith("among "))
    assert f"worst tenth {found['devices']['worst_tenth']:.4f}" in among
    low, high = (
        min(zip(found["devices"]["accuracy"], found["devices"][end], strict=True))[1] for end in ("low", "high")
    )
    assert f"{low:.3f} to {high:.3f}" in lines[lines.index(among) + 2]

    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    (prediction,) = json.loads(cli("predict", str(folder), "black.png", "--json").out)
    assert prediction["label"] in result["data"]["classes"]
    assert 0.1 <= prediction["probability"] <= 1
    assert cli("predict", str(folder), "nothing.png").error.startswith("error: nothing.png: ")
    assert cli("evaluate", "nowhere").code == 1


def test_one_commands_folder_is_not_continued_by_another(cli: Cli, tiny: str) -> None:
    short = ["--set", "rounds=1", "--out", "k"]
    assert cli("compare", tiny, "--methods", "ecofed", *short).code == 0
    ended = cli("run", tiny, *short, "--resume")
    assert ended.code == 2
    assert ended.error.startswith("error: k holds summary.json of another command; choose another folder: --out k-2")
    assert cli("run", tiny, "--set", "rounds=1", "--out", "one").code == 0
    ended = cli("compare", tiny, "--set", "rounds=1", "--out", "one", "--resume")
    assert ended.code == 2
    assert "holds result.json of another command" in ended.error


def test_a_refused_start_leaves_nothing_in_the_way(cli: Cli, tiny: str, tmp_path: Path) -> None:
    assert cli("run", tiny, "--set", "clock.device=raspberry-pi-6", "--out", "o").code == 2
    assert not (tmp_path / "o").exists()
    assert cli("run", tiny, "--set", "rounds=1", "--out", "o").code == 0


@pytest.mark.ci
def test_several_seeds_are_one_comparison(cli: Cli, tiny: str, tmp_path: Path) -> None:
    words = ["compare", tiny, "--methods", "closed-form,ecofed", "--seeds", "0,1", "--set", "rounds=1", "--out", "k"]
    ended = cli(*words)
    assert ended.code == 0, ended.err
    summary = json.loads((tmp_path / "k/summary.json").read_text())
    assert [(row["method"], row["seeds"]) for row in summary["rows"]] == [("closed-form", [0, 1]), ("ecofed", [0, 1])]
    assert (tmp_path / "k/ecofed-seed=1/model.safetensors").is_file()
    assert "did not use the same data" not in (tmp_path / "k/report.html").read_text()
    assert cli(*words, "--resume").code == 0
    assert cli("compare", tiny, "--seeds", "0,x").error.startswith("error: --seeds 0,x: must be whole numbers")


def test_what_final_accuracy_means_is_said(cli: Cli, tiny: str) -> None:
    ended = cli("run", tiny)
    assert "final accuracy: the mean of all 3 evaluations, on 50 test images" in ended.out


def test_a_fallback_is_told(cli: Cli, tiny: str) -> None:
    ended = cli("run", tiny, "--set", "data.name=./nowhere", "--set", "data.fallback=digits", "--set", "rounds=1")
    assert "./nowhere was found nowhere: using Digits" in ended.err
    assert "note: ./nowhere was found nowhere" in ended.out


@pytest.mark.ci
def test_ctrl_c_and_the_command_that_it_prints(cli: Cli, tiny: str, tmp_path: Path) -> None:
    words = ["run", tiny, "--set", "rounds=30", "--set", "evaluate_every=15", "--out", "stopped"]
    command = [sys.executable, "-c", "from ecofed.cli import main; main()", *words]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "round 1/30" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait() == 130, rest
    assert "Traceback" not in rest
    _, _, printed = rest.rstrip().rpartition("continue with: ")
    again = shlex.split(printed)
    assert again == ["ecofed", *words, "--resume"]
    for arguments in (again[1:], [*words[:-1], "whole"]):
        ended = cli(*arguments)
        assert ended.code == 0, ended.err
    assert _figures(tmp_path / "stopped") == _figures(tmp_path / "whole")


def _figures(folder: Path) -> list[dict[str, Any]]:
    """The rounds of a result without what depends on the clock on the wall."""
    rounds = json.loads((folder / "result.json").read_text())["rounds"]
    return [{key: value for key, value in record.items() if not key.endswith("_seconds")} for record in rounds]


def test_a_run_that_was_stopped_can_be_reported_on_and_leaves_nothing_when_it_ends(
    cli: Cli, tiny: str, tmp_path: Path
) -> None:
    settings = Settings.load(tiny)
    with pytest.raises(KeyboardInterrupt):
        ecofed.run(settings.for_method("ecofed"), out=tmp_path / "run", observer=StopAfter(2))
    ended = cli("report", "run")
    assert ended.code == 0, ended.err
    assert "not finished: these are 1 of 3 rounds" in ended.out
    assert (tmp_path / "run" / "report.html").exists()
    assert cli("run", tiny, "--out", "run", "--resume").code == 0
    assert not (tmp_path / "run" / "unfinished.json").exists()
    assert "not finished" not in cli("report", "run").out
