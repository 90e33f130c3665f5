"""``ecofed run`` and ``ecofed compare``: what reaches the engine, what is printed, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli_fakes import Cli, FakeEngine

from ecofed.cli import main
from ecofed.config.methods import PAPER_METHODS
from ecofed.errors import CheckpointError, DataError


def test_run_gives_the_engine_the_resolved_configuration(cli: Cli, engine: FakeEngine) -> None:
    ended = cli("run", "quickstart", "--set", "rounds=3", "--set", "method=lgl", "--set", "lgl.learning_rate=0.5")
    assert ended.code == 0
    (call,) = engine.calls
    assert (call["config"].method, call["config"].rounds, call["config"].learning_rate) == ("lgl", 3, 0.5)
    assert call["out"] == Path("runs/quickstart-lgl")
    assert call["resume"] is False
    assert call["command"] == "ecofed run quickstart --set rounds=3 --set method=lgl --set lgl.learning_rate=0.5"
    assert "0.500" in ended.out
    assert "runs/quickstart-lgl/result.json" in ended.out


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (["run"], "runs/defaults-ecofed"),
        (["run", "mine/own.toml"], "runs/own-classic-fl"),
        (["compare", "mine/own.toml"], "runs/own"),
        (["run", "quickstart", "--out", "elsewhere/x"], "elsewhere/x"),
    ],
)
@pytest.mark.usefixtures("engine")
def test_where_results_go(cli: Cli, tmp_path: Path, words: list[str], folder: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/own.toml").write_text('method = "classic-fl"\n')
    assert cli(*words).code == 0
    assert (tmp_path / folder / ("summary.json" if words[0] == "compare" else "result.json")).is_file()


def test_compare_runs_every_method_in_order_by_default(cli: Cli, engine: FakeEngine) -> None:
    ended = cli("compare", "quickstart", "--set", "rounds=2")
    assert ended.code == 0
    assert [call["config"].method for call in engine.calls] == list(PAPER_METHODS)
    for method in PAPER_METHODS:
        assert method in ended.out
    assert "raw" in ended.out  # the floor: what the images themselves would cost


def test_compare_overrides_a_key_for_one_method_only(cli: Cli, engine: FakeEngine) -> None:
    ended = cli("compare", "--methods", "ecofed, classic-fl", "--set", "classic-fl.learning_rate=0.03")
    assert ended.code == 0
    assert [(c["config"].method, c["config"].learning_rate) for c in engine.calls] == [
        ("ecofed", 0.01),
        ("classic-fl", 0.03),
    ]


@pytest.mark.parametrize(("command", "file"), [("run", "result.json"), ("compare", "summary.json")])
@pytest.mark.usefixtures("engine")
def test_json_goes_to_stdout_and_everything_else_to_stderr(cli: Cli, tmp_path: Path, command: str, file: str) -> None:
    ended = cli(command, "--set", "rounds=2", "--out", "here", "--json")
    assert ended.code == 0
    assert json.loads(ended.out) == json.loads((tmp_path / "here" / file).read_text())
    assert "round 2/2" in ended.err


@pytest.mark.usefixtures("engine")
def test_plain_progress_names_round_accuracy_bytes_and_time_left(cli: Cli) -> None:
    lines = cli("run", "--set", "rounds=4").err.splitlines()
    assert lines[0] == "ecofed: 4 rounds"
    assert lines[1].startswith("ecofed: round 1/4  accuracy -  1.50 MB  ")
    assert lines[1].endswith(" left")
    assert lines[2].startswith("ecofed: round 4/4  accuracy 0.040  6.00 MB  0 s left")  # 2 and 3 came too soon after 1
    assert lines[3:] == ["a remark", "ecofed: finished, accuracy 0.500, 6.00 MB, 1 min 5 s"]


def test_a_folder_with_something_in_it_is_refused_without_resume(cli: Cli, engine: FakeEngine, tmp_path: Path) -> None:
    assert cli("run", "quickstart").code == 0
    again = cli("run", "quickstart")
    assert again.code == 2
    assert again.error == (
        "error: runs/quickstart-ecofed is not empty; add --resume to continue it, "
        "or choose another: --out runs/quickstart-ecofed-2"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    strange = cli("run", "quickstart", "--out", "mine").error
    assert strange == "error: mine is not empty; nothing there is a run's; choose another: --out mine-2"
    assert cli("run", "quickstart", "--resume").code == 0
    assert engine.calls[-1]["resume"] is True
    (tmp_path / "file").touch()
    assert cli("compare", "--out", "file").code == 2


def test_ctrl_c_says_how_to_go_on(cli: Cli, engine: FakeEngine) -> None:
    engine.failure = KeyboardInterrupt()
    ended = cli("compare", "quickstart", "--set", "data.name=my data", "--debug")
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert ended.err.splitlines()[-1] == (
        "stopped; what is in runs/quickstart is kept, continue with: "
        "ecofed compare quickstart --set 'data.name=my data' --resume"
    )
    resumed = cli("compare", "quickstart", "--resume")
    assert resumed.err.splitlines()[-1].endswith("continue with: ecofed compare quickstart --resume")


@pytest.mark.parametrize(
    ("failure", "code"), [(DataError("no such data"), 1), (CheckpointError("of another run"), 1), (OSError("full"), 1)]
)
def test_a_failure_of_the_engine_is_one_line_and_its_exit_code(
    cli: Cli, engine: FakeEngine, failure: Exception, code: int
) -> None:
    engine.failure = failure
    ended = cli("run", "--set", "rounds=3")
    assert ended.code == code
    assert ended.err.splitlines()[-1] == f"error: {failure}"
    assert ended.out == ""


def test_debug_shows_the_traceback_wherever_it_stands(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.failure = DataError("no such data")
    for words in (["--debug", "run", "--out", "a"], ["run", "--debug", "--out", "b"]):
        monkeypatch.setattr(sys, "argv", ["ecofed", *words])
        with pytest.raises(DataError, match="no such data"):
            main()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["run", "quickstrat"], "'quickstrat' is neither a preset nor a file (did you mean 'quickstart'?)"),
        (["run", "--set", "ecofed.bit=3"], "unknown key 'ecofed.bit' (did you mean 'codec.bits'?)"),
        (["run", "--set", "method=fedavg"], "method = 'fedavg': must be one of classic-fl"),
        (["compare", "--methods", "ecofed,classicfl"], "unknown method 'classicfl' (did you mean 'classic-fl'?)"),
        (["compare", "--methods", "lgl,lgl"], "--methods names 'lgl' twice"),
        (["compare", "--methods", ","], "--methods names no method"),
        (["presets", "nope"], "unknown preset 'nope'"),
        (["presets", "quickstart", "--keys"], "give a preset's name or --keys, not both"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    cli: Cli, engine: FakeEngine, words: list[str], error: str
) -> None:
    ended = cli(*words)
    assert ended.code == 2
    assert ended.error.startswith(f"error: {error}")
    assert ended.out == ""
    assert engine.calls == []


def test_a_missing_pytorch_is_named_with_its_install_command(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; sys.argv = ['ecofed', 'run']\nfrom ecofed.cli import main\nmain()"
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    checkout = Path(__file__).parents[2]
    assert ended.stderr.startswith("error: ecofed run needs the package 'torch': ")
    assert ended.stderr.endswith(f" install -e '{checkout}[train]'\n")
