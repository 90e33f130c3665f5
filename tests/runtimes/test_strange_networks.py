"""``--resume`` replaces no network, and nothing else, that its run did not begin."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from small import BASE, outcome, small_config

from ecofed.config import Config, Settings
from ecofed.errors import CheckpointError, ConfigError
from ecofed.files.tensor_files import unpack
from ecofed.runs import experiment
from ecofed.runs.checkpoints import CHECKPOINT_FILE
from ecofed.runs.experiment import compare, run
from ecofed.runs.run_folder import MODEL_FILE
from stopping import StopAfter

pytestmark = pytest.mark.usefixtures("often_saved_without_reports")


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of seed 1, two rounds."""
    folder = tmp_path_factory.mktemp("trained")
    run(config_of(pictures, seed=1), out=folder, report=False)
    return folder


def config_of(pictures: Path, **changes: object) -> Config:
    return small_config(pictures, "classic-fl", **({"rounds": 2} | changes))


def stopped(config: Config, folder: Path, round_: int = 2) -> Path:
    with pytest.raises(KeyboardInterrupt):
        run(config, out=folder, observer=StopAfter(round_), report=False)
    return folder


def users_own(file: Path) -> None:
    file.parent.mkdir(exist_ok=True)
    save_file({"weight": np.ones(3, np.float32)}, file)


def test_a_network_of_somebody_else_is_not_replaced(pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "run" / MODEL_FILE
    users_own(file)
    before = file.read_bytes()
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(ConfigError) as caught:
            run(config_of(pictures), out=tmp_path / "run", **options)
        assert str(caught.value) == (
            f"{file} is not a file that ecofed wrote; move it, or choose another place with --out"
        )
    assert file.read_bytes() == before


@pytest.mark.parametrize("begun", ["nothing", "a round", "two rounds"])
def test_a_network_of_another_run_is_not_replaced(begun: str, trained: Path, pictures: Path, tmp_path: Path) -> None:
    config, folder = config_of(pictures), tmp_path / "run"
    if begun == "nothing":
        folder.mkdir()
    else:
        stopped(config, folder, 1 if begun == "a round" else 2)
    shutil.copy(trained / MODEL_FILE, folder)
    before = (folder / MODEL_FILE).read_bytes()
    with pytest.raises(ConfigError) as caught:
        run(config, out=folder, resume=True)
    assert str(caught.value) == (
        f"{folder / MODEL_FILE} is a network that this run did not train, and would be replaced; move it, or choose "
        "another --out"
    )
    assert (folder / MODEL_FILE).read_bytes() == before


def test_a_network_of_other_pictures_is_another_run_s(pictures: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(pictures, tmp_path / "pictures"))
    config = config_of(data)
    run(config, out=tmp_path / "first", report=False)
    (data / "train" / "class0" / "0.png").write_bytes((data / "train" / "class0" / "1.png").read_bytes())
    folder = stopped(config, tmp_path / "run")
    shutil.copy(tmp_path / "first" / MODEL_FILE, folder)
    with pytest.raises(ConfigError, match="a network that this run did not train"):
        run(config, out=folder, resume=True)
    (folder / MODEL_FILE).unlink()
    run(config, out=folder, resume=True)


def test_a_run_that_was_killed_before_its_result_replaces_its_own(
    trained: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = config_of(pictures, seed=1), tmp_path / "run"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(experiment, "write_result", killed)
        with pytest.raises(KeyboardInterrupt):
            run(config, out=folder, report=False)
    assert (folder / MODEL_FILE).exists()
    assert not (folder / "result.json").exists()
    assert outcome(run(config, out=folder, resume=True)) == outcome(run(config))
    again, first = unpack(folder / MODEL_FILE), unpack(trained / MODEL_FILE)
    assert again.description == first.description
    assert all((again.arrays[name] == array).all() for name, array in first.arrays.items())


def test_a_run_of_other_settings_that_was_stopped_early_is_not_begun_anew(pictures: Path, tmp_path: Path) -> None:
    folder = stopped(config_of(pictures), tmp_path / "run", 1)
    assert not (folder / CHECKPOINT_FILE).exists()
    before = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"unfinished\.json: belongs to a run with another configuration"):
        run(config_of(pictures, seed=5), out=folder, resume=True)
    assert (folder / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "report.html", "buffer"])
def test_what_is_left_of_a_run_that_is_gone_is_not_replaced(name: str, pictures: Path, tmp_path: Path) -> None:
    config = small_config(pictures, "ecofed", rounds=2, ecofed__buffer="disk")
    folder = stopped(config, tmp_path / "run")
    (folder / "report.html").write_text("<p class='kicker'>EcoFed report", encoding="utf-8")
    for other in folder.iterdir():
        if other.name != name and other.is_file():
            other.unlink()
        elif other.name != name:
            shutil.rmtree(other)
    with pytest.raises(ConfigError, match=f"{name} is of another run, and no run is there that could be continued"):
        run(config, out=folder, resume=True)
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_comparison_looks_at_all_its_folders_first(pictures: Path, tmp_path: Path) -> None:
    keys = BASE | {"data.name": pictures, "rounds": 1}
    settings = Settings.load(None, [f"{key}={value}" for key, value in keys.items()])
    users_own(tmp_path / "classic-fl" / MODEL_FILE)
    with pytest.raises(ConfigError, match=r"classic-fl.model\.safetensors is not a file that ecofed wrote"):
        compare(settings, ["ecofed", "classic-fl"], out=tmp_path, resume=True)
    assert not (tmp_path / "ecofed").exists()
    (tmp_path / "classic-fl" / MODEL_FILE).unlink()
    (tmp_path / "summary.json").write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"summary\.json is not a file that ecofed wrote"):
        compare(settings, ["classic-fl"], out=tmp_path, resume=True)
    assert (tmp_path / "summary.json").read_text(encoding="utf-8") == '{"mine": 1}'
