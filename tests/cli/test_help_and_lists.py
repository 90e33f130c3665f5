"""Help, presets, keys, data sets and reports: commands that train nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from cli_fakes import Cli

from ecofed.cli.app import app
from ecofed.cli.commands import COMMANDS
from ecofed.config import Config, Settings
from ecofed.config.keys import configuration_keys
from ecofed.config.presets import preset_names, preset_text
from ecofed.config.schema import all_keys

PYTHON = [sys.executable, "-c"]


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["data", "list"], ["data", "fetch"]])
def test_every_help_ends_in_an_example(cli: Cli, words: list[str]) -> None:
    ended = cli(*words, "--help")
    assert ended.code == 0
    _, _, examples = ended.out.rpartition("Example")
    assert f" ecofed {' '.join(words)}".rstrip() in examples


def test_the_list_says_of_a_command_what_its_help_begins_with() -> None:
    root = typer.main.get_command(app)
    for name, text in COMMANDS.items():
        command = root.commands[name]  # type: ignore[attr-defined]
        assert command.help.split("\n\n")[0] == text


def test_every_option_says_what_it_is_for() -> None:
    silent = []
    waiting = [("ecofed", typer.main.get_command(app))]
    for name, command in waiting:
        waiting += [(f"{name} {child}", inner) for child, inner in getattr(command, "commands", {}).items()]
        silent += [f"{name} {parameter.name}" for parameter in command.params if not getattr(parameter, "help", "")]
    assert silent == []


def test_no_words_at_all_print_the_help(cli: Cli) -> None:
    ended = cli()
    assert "Usage: ecofed" in ended.out + ended.err


@pytest.mark.parametrize("words", [["runn"], ["run", "--sett", "a=1"], ["run", "quickstart", "rounds=3"], ["predict"]])
def test_bad_usage_exits_with_2(cli: Cli, words: list[str]) -> None:
    ended = cli(*words)
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_help_imports_neither_pytorch_nor_what_plots() -> None:
    code = (
        "import sys; sys.argv = ['ecofed', '--help']\n"
        "from ecofed.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "called = {name for name in sys.modules if name.startswith('ecofed.')} & {'ecofed.cli.run', 'ecofed.config'}\n"
        "assert not called, called\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'pyarrow', 'sklearn', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert subprocess.run([*PYTHON, code], capture_output=True, text=True, check=False).stderr == ""


def test_a_reader_that_leaves_early_is_no_error() -> None:
    code = "import sys; sys.argv = ['ecofed', 'presets', '--keys']\nfrom ecofed.cli import main\nmain()"
    with subprocess.Popen([*PYTHON, code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_presets_are_listed_with_what_they_are_for(cli: Cli) -> None:
    out = cli("presets").out
    listed = json.loads(cli("presets", "--json").out)
    assert [row["name"] for row in listed] == preset_names()
    for row in listed:
        assert row["name"] in out
        assert row["description"] in preset_text(row["name"]).splitlines()[0]


@pytest.mark.parametrize("name", preset_names())
def test_a_printed_preset_is_a_file_that_means_the_same(cli: Cli, tmp_path: Path, name: str) -> None:
    (tmp_path / "copy.toml").write_text(cli("presets", name).out)
    assert Settings.load(tmp_path / "copy.toml").assignments == Settings.load(name).assignments


def test_keys_lists_every_key_with_its_default(cli: Cli) -> None:
    out = cli("presets", "--keys").out
    rows = json.loads(cli("presets", "--keys", "--json").out)
    assert [row["key"] for row in rows] == all_keys()
    assert "ecofed.period = 2    (whole number)\n    A refresh every 'period' rounds." in out
    assert "model.head_width = none    (whole number or none)" in out


def test_every_default_can_be_set_as_it_is_printed() -> None:
    settable = [key for key in configuration_keys() if key.default is not None or "none" in key.type]
    assert len(settable) > 50
    for key in settable:
        settings = Settings.load(None, [f"{key.key}={key.default_text}"])
        assert settings.for_method("ecofed") == Config(), key.key


def test_every_key_says_what_it_means() -> None:
    assert [key.key for key in configuration_keys() if not key.doc] == []


def test_data_lists_known_sets_and_names_the_nearest_for_a_typing_error(cli: Cli) -> None:
    names = [row["name"] for row in json.loads(cli("data", "list", "--json").out)]
    assert {"fashion-mnist", "mnist", "cifar10", "cifar100", "digits"} <= set(names)
    assert "CIFAR-10" in cli("data", "list").out
    ended = cli("data", "fetch", "cifar")
    assert ended.code == 1
    assert "did you mean 'cifar10'?" in ended.error


@pytest.mark.usefixtures("engine")
def test_report_rewrites_the_page_of_a_folder(cli: Cli, tmp_path: Path) -> None:
    assert cli("compare", "quickstart", "--set", "rounds=2", "--out", "here").code == 0
    ended = cli("report", "here")
    assert ended.code == 0, ended.err
    assert (tmp_path / "here/report.html").stat().st_size > 1000
    assert "here/report.html" in ended.out
    assert cli("report", "nowhere").code == 1
    assert cli("report", "here", "--format", "pdf, svg").code == 0
    assert {file.suffix for file in (tmp_path / "here/plots").iterdir()} == {".png", ".pdf", ".svg"}
    wrong = cli("report", "here", "--format", "pfd")
    assert wrong.code == 2
    assert "--format pfd: must be one of png, svg, pdf (did you mean 'pdf'?)" in wrong.error


def test_version(cli: Cli) -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(pyproject.read_text())["project"]["scripts"]["ecofed"] == "ecofed.cli:main"
    assert cli("--version").out.startswith("ecofed 0.")


def test_help_is_quick_because_it_loads_little() -> None:
    """Figures are for other days: what takes the time is what is imported."""
    code = (
        "import sys\n"
        "own = ('ecofed.costs.clock', 'ecofed.costs.profiles', 'ecofed.reports.html', 'ecofed.runs')\n"
        "others = ('rich.progress', 'tomllib', 'importlib.resources')\n"
        "for name in ('numpy', 'torch', 'safetensors', 'cryptography', *own, *others):\n"
        "    sys.modules[name] = None\n"
        "sys.argv = ['ecofed', '--help']\n"
        "from ecofed.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout
