"""A search for settings on a kept buffer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from again import kept_config

from ecofed.errors import CheckpointError, ConfigError, DeviceError
from ecofed.relearning import tuning
from ecofed.relearning.retraining import retrain
from ecofed.relearning.tuning import Tuning, search_space, tune
from ecofed.runs.experiment import run
from ecofed.runs.kept_buffer import open_buffer

FEW = {"trials": 6, "workers": 1, "sets": ["rounds=1"]}


@pytest.fixture(scope="module")
def found(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tuning]:
    folder = tmp_path_factory.mktemp("tuning") / "search"
    return folder, tune(collected, out=folder, **FEW)  # type: ignore[arg-type]


def test_what_it_finds(found: tuple[Path, Tuning], collected: Path) -> None:
    folder, made = found
    assert [trial.number for trial in made.trials] == [*range(6)]
    assert made.trials[0].settings == {}
    assert made.best.accuracy == max(trial.accuracy for trial in made.trials if trial.accuracy is not None)
    assert len({json.dumps(trial.settings) for trial in made.trials}) == 6
    written = json.loads((folder / "tuning.json").read_text("utf-8"))
    assert written["best"]["accuracy"] == made.best.accuracy
    assert written["uplink_bytes"] == written["downlink_bytes"] == 0
    assert written["buffer"] == open_buffer(collected).digest()
    # 4-byte weights of the narrow LeNet, down and up, two devices, one round, six trials.
    assert made.classic_bytes % (2 * 4 * 2 * 6) == 0
    assert made.classic_bytes > 1e6


def test_the_command_that_it_prints_trains_with_what_it_found(
    found: tuple[Path, Tuning], collected: Path, tmp_path: Path
) -> None:
    words = shlex.split(found[1].command)
    assert words[:3] == ["ecofed", "retrain", str(collected)]
    assert words[3:5] == ["--set", "rounds=1"]
    result = retrain(collected, out=tmp_path / "best", sets=words[4::2], report=False)
    best = found[1].best.settings
    assert result.config["learning_rate"] == best.get("learning_rate", 0.01)
    assert result.config["validation"]["fraction"] == 0


def test_stopped_and_continued_it_is_the_same_search(
    found: tuple[Path, Tuning], collected: Path, tmp_path: Path
) -> None:
    said: list[str] = []

    def stop(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            raise KeyboardInterrupt

    folder = tmp_path / "search"
    with pytest.raises(KeyboardInterrupt):
        tune(collected, out=folder, say=stop, **FEW)  # type: ignore[arg-type]
    with (folder / "trials.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"number": 3, "settings": {}')
    with pytest.raises(ConfigError, match="add --resume to continue the search"):
        tune(collected, out=folder, **FEW)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="other settings"):
        tune(collected, out=folder, seed=1, resume=True, **FEW)  # type: ignore[arg-type]
    assert tune(collected, out=folder, resume=True, say=said.append, **FEW) == found[1]  # type: ignore[arg-type]
    assert [text.split()[1] for text in said] == [f"{number}/6:" for number in range(1, 7)]


def test_a_trial_learns_from_the_buffer_that_the_search_began_with(collected: Path) -> None:
    """Somebody may have uploads deleted meanwhile."""
    job = tuning._Job(source=str(collected), buffer="another", fixed=(), held_out=0.2)
    with pytest.raises(ConfigError, match="its buffer is another than when the search began"):
        tuning._carry_out((job, 0, {}))


def test_trials_that_diverge(collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter([0.5, None, 0.25, None, None])
    monkeypatch.setattr(tuning, "_carry_out", lambda task: (task[1], next(outcomes)))
    made = tune(collected, out=tmp_path / "some", trials=3, workers=1)
    assert [trial.accuracy for trial in made.trials] == [0.5, None, 0.25]
    assert made.importance == {}
    assert made.best.number == 0
    with pytest.raises(DeviceError, match="diverged with every setting"):
        tune(collected, out=tmp_path / "none", trials=2, workers=1)


def test_what_is_searched(collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "model.head_width" not in search_space(kept_config())
    assert search_space(kept_config())["model.back_width"].choices == (0.125, 0.25, 0.5, 1.0)  # type: ignore[attr-defined]
    assert "model.back_width" not in search_space(kept_config(model__name="resnet9", model__cut="block4"))
    wide = search_space(kept_config(model__name="vgg11", model__width=0.25))
    assert wide["model.head_width"].to_internal_repr(1024) == 2  # type: ignore[no-untyped-call]
    monkeypatch.setattr(tuning, "_carry_out", lambda task: (task[1], 0.5))
    made = tune(collected, out=tmp_path / "fixed", trials=2, workers=1, sets=["learning_rate=0.02", "ecofed.ema=0"])
    assert set(made.trials[1].settings) == {
        *("ecofed.weight_decay", "ecofed.schedule", "ecofed.label_smoothing", "ecofed.mixup", "model.back_width")
    }


def test_only_what_the_run_reads_is_searched(collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(search_space(kept_config(ecofed__server="fedavg"))) == {"learning_rate", "model.back_width"}
    monkeypatch.setattr(tuning, "_carry_out", lambda task: (task[1], 0.5))
    said: list[str] = []
    fixed = ["ecofed.server=fedavg", "ecofed.ema=0.9", "ecofed.learning_rate=0.05"]
    made = tune(collected, out=tmp_path / "search", trials=2, workers=1, sets=fixed, say=said.append)
    assert set(made.trials[1].settings) == {"model.back_width"}
    assert said[0] == "note: ecofed.ema=0.9 changes nothing: it needs ecofed.server=pooled"


def test_randomised_labels_judge_no_trial(tmp_path: Path) -> None:
    run(kept_config(privacy__label_epsilon=2.0, rounds=1), out=tmp_path / "run", report=False)
    with pytest.raises(ConfigError, match=r"its labels are randomised \(privacy.label_epsilon = 2\), and trials would"):
        tune(tmp_path / "run", out=tmp_path / "search")
    assert not (tmp_path / "search").exists()


@pytest.mark.ci
def test_what_mattered(collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_carry_out", lambda task: (task[1], min(0.9, task[2].get("learning_rate", 0) * 9)))
    made = tune(collected, out=tmp_path / "search", trials=16, workers=1)
    assert sum(made.importance.values()) == pytest.approx(1)
    assert max(made.importance, key=lambda key: made.importance[key]) == "learning_rate"
    assert (tmp_path / "search" / "importance.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"trials": 0}, "--trials 0"),
        ({"held_out": 1.0}, "held out 1.0"),
        ({"sets": ["devices=3"]}, "devices = 3"),
        ({"workers": 0}, "--workers 0: must be at least 1"),
        ({"workers": -2}, "--workers -2: must be at least 1"),
    ],
)
def test_what_is_refused(bad: dict[str, object], reason: str, collected: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        tune(collected, out=tmp_path / "search", **bad)  # type: ignore[arg-type]
    assert not (tmp_path / "search").exists()


@pytest.mark.slow
def test_any_number_of_processes_finds_the_same(
    found: tuple[Path, Tuning], copied: Callable[[str], Path], tmp_path: Path
) -> None:
    both = tune(copied("run"), out=tmp_path / "both", trials=6, workers=2, sets=["rounds=1"])
    assert both.trials == found[1].trials
