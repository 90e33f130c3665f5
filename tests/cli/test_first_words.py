"""What a new user types first: options that are keys, ``python -m``, the tab key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_fakes import Cli, FakeEngine

from ecofed.cli.completion import assignments, methods, sources
from ecofed.cli.key_hints import option_hint
from ecofed.config.methods import METHODS
from ecofed.config.presets import preset_names
from ecofed.config.schema import all_keys


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("run --rounds 5", "no such option --rounds; a key is set with --set rounds=5"),
        (
            "run quickstart --learning-rate=0.1",
            "no such option --learning-rate; a key is set with --set learning_rate=0.1",
        ),
        ("run -rounds 5", "no such option -rounds; a key is set with --set rounds=5"),
        ("compare --round 5", "no such option --round; a key is set with --set rounds=5"),
        ("plan --bits 4", "no such option --bits; a key is set with --set codec.bits=4"),
        ("plan --ecofed.periode 4", "no such option --ecofed.periode; a key is set with --set ecofed.period=4"),
        ("frontier --lr 0.1", "no such option --lr; a key is set with --set learning_rate=0.1"),
        ("export front --name mnist", "--set model.name=mnist or --set data.name=mnist"),
        ("run --seed", "no such option --seed; a key is set with --set seed=VALUE"),
        ("run --momentum -0.5", "--set momentum=-0.5"),
        ("run quickstart rounds=5", "'rounds=5': a key is set with --set rounds=5"),
        ("run rounds=5", "'rounds=5': a key is set with --set rounds=5"),
        ("run quickstart --seed 1 rounds=5", "no such option --seed; a key is set with --set seed=1"),
    ],
)
def test_a_key_given_as_an_option_is_answered_with_how_it_is_set(
    cli: Cli, engine: FakeEngine, words: str, hint: str
) -> None:
    ended = cli(*words.split())
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert hint in ended.err
    assert ended.err.count("\n") == 1
    assert engine.calls == []


def test_every_key_is_known_as_an_option(cli: Cli) -> None:
    for key in all_keys():
        hint = option_hint(f"--{key}", ["run", f"--{key}", "1"])
        assert hint is not None
        assert f"--set {key}=1" in hint
    assert "--set codec.bits=1" in cli("run", "--codec.bits", "1").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("run --qqqqq 5", "no such option: --qqqqq; 'ecofed run --help' tells"),
        ("predict --rounds 5", "no such option: --rounds; 'ecofed predict --help' tells"),
        ("run quickstart qqqqq=1", "extra argument"),
        ("run quickstart more", "extra argument"),
        ("report", "missing argument 'DIR'; 'ecofed report --help' tells"),
        ("run quickstart --out", "option '--out' requires an argument; 'ecofed run --help' tells"),
        ("compare --jobs many", "invalid value for '--jobs'"),
        ("train quickstart", "no such command 'train'; 'ecofed run' trains one method"),
        ("resume runs/first", "no such command 'resume'; the command that began the run continues it, with --resume"),
        ("presetz", "no such command 'presetz' (did you mean 'presets'?); 'ecofed --help' lists"),
        ("front chek", "no such command 'chek' (did you mean 'check'?); 'ecofed front --help' lists"),
    ],
)
def test_what_is_like_no_key_is_one_line_all_the_same(cli: Cli, words: str, told: str) -> None:
    ended = cli(*words.split())
    assert ended.code == 2
    assert "--set" not in ended.err
    assert ended.err.startswith("error: ")
    assert told in ended.err
    assert ended.err.count("\n") == 1


def test_a_key_and_its_value_in_two_words_are_told_apart(cli: Cli) -> None:
    ended = cli("run", "quickstart", "--set", "rounds", "5")
    assert ended.err == "error: --set rounds 5: a key and its value are one word, --set rounds=5\n"
    # Without a preset before it the value is one.
    assert cli("run", "--set", "rounds", "5").err.startswith(
        "error: --set 'rounds': must be key=value, for example --set rounds=10"
    )


def test_a_usage_error_quotes_a_file_name_as_text(cli: Cli) -> None:
    ended = cli("run", "quickstart", "\x1b[2J.png")
    assert ended.code == 2
    assert ended.err.startswith(r"error: got unexpected extra argument(s) (\x1b[2J.png); ")
    assert ended.err.count("\n") == 1


def test_help_shows_no_value_where_none_is_given(cli: Cli) -> None:
    for words in ("", "run", "audit", "pretrain", "front", "front check", "fleet init"):
        told = cli(*words.split(), "--help").out
        assert not re.search(r"--\S+ +(-h +)?<(bool|int|str|float)", told), words
    assert re.search(r"--seed +N ", cli("audit", "--help").out)
    assert re.search(r"--resume +Continue", cli("run", "--help").out)


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    for words, code, out in (
        (["--version"], 0, "ecofed 0."),
        (["presets"], 0, "quickstart"),
        (["run", "nosuch"], 2, ""),
    ):
        command = [sys.executable, "-m", "ecofed", *words]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == code, ended.stderr
        assert out in ended.stdout
        assert "Traceback" not in ended.stderr


def test_presets_and_files_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick.toml").touch()
    (tmp_path / "questions").mkdir()
    assert [text for text, _ in sources("qu")] == ["quickstart", "questions/", "quick.toml"]
    assert [text for text, _ in sources("")][: len(preset_names())] == preset_names()


def test_methods_are_offered_one_after_the_other() -> None:
    assert [text for text, _ in methods("")] == list(METHODS)
    assert [text for text, _ in methods("classic-fl,c")] == ["classic-fl,closed-form"]


def test_keys_and_their_values_are_offered() -> None:
    assert [text for text, _ in assignments("")] == [f"{key}=" for key in all_keys()]
    assert [text for text, _ in assignments("ecofed.per")] == ["ecofed.period="]
    assert dict(assignments("roun"))["rounds="]
    assert [text for text, _ in assignments("precision=")] == [
        "precision=auto",
        "precision=float32",
        "precision=bfloat16",
    ]
    assert [text for text, _ in assignments("method=e")] == ["method=ecofed"]
    assert [text for text, _ in assignments("keep")] == [f"{key}=" for key in all_keys() if key.startswith("keep")]
    assert "data.name=cifar10" in [text for text, _ in assignments("data.name=")]
    assert [text for text, _ in assignments("lgl.learning_r")] == ["lgl.learning_rate="]
    assert [text for text, _ in assignments("lgl.normalisation=b")] == ["lgl.normalisation=batch"]


@pytest.mark.parametrize("line", ["ecofed run quicks", "ecofed compare --set ecofed.per", "ecofed plan --methods vani"])
def test_a_shell_is_told(line: str) -> None:
    words = line.split()
    code = "import sys; sys.argv = ['ecofed']\nfrom ecofed.cli import main\nmain()"
    asked = {"_ECOFED_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    expected = {"quicks": "quickstart", "ecofed.per": "ecofed.period=", "vani": "vanilla-dpfl"}[words[-1]]
    assert ended.stdout.split() == [expected], ended.stderr


def test_completion_is_shown_and_installed(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['ecofed', *sys.argv[1:]]\nfrom ecofed.cli import main\nmain()"
    environment = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    for option in ("--show-completion", "--install-completion"):
        command = [sys.executable, "-c", code, option, "bash"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    assert "_ECOFED_COMPLETE" in (tmp_path / ".bash_completions" / "ecofed.sh").read_text()
