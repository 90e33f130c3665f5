"""A data format of one's own, through the one door."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ecofed
from ecofed.cli import main
from ecofed.config import Config, Settings, registry
from ecofed.data import Pictures, load_dataset
from ecofed.errors import ConfigError, DataError

PLUGIN = Path(__file__).parents[2] / "examples" / "own_format.py"
SMALL = [
    *("model.name=lenet", "model.width=0.5", "rounds=1", "devices=2", "sampled_devices=2", "test_samples=20"),
    *("initialisation=random", "method=classic-fl"),
]


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with registry.only_here():
        yield


def write(folder: Path, count: int = 30, classes: tuple[str, ...] = ("bee", "cat", "dog"), shift: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for part in ("train", "test"):
        images = np.random.default_rng(shift).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)
        np.savez(folder / f"{part}.npz", images=images, labels=np.arange(count) % len(classes), classes=classes)
    return folder


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["ecofed", *words, "--plugin", str(PLUGIN)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0, capsys.readouterr().err

    name = f"npz:{write(tmp_path / 'arrays')}"
    sets = [word for pair in (*SMALL, f"data.name={name}") for word in ("--set", pair)]
    command("run", *sets, "--out", str(tmp_path / "run"))
    result = ecofed.load(tmp_path / "run")
    assert isinstance(result, ecofed.RunResult)
    assert (result.data.name, result.data.classes) == ("arrays", ["bee", "cat", "dog"])
    config = json.loads((tmp_path / "run" / "result.json").read_text())["config"]
    assert [origin["plugin"] for origin in config["plugins"]] == ["own_format.py"]
    command("evaluate", str(tmp_path / "run"), "--data", name)
    registry._formats.clear()
    registry._loaded.clear()
    with pytest.raises(ecofed.PluginError, match=r"made with the plug-in own_format\.py: load it with --plugin"):
        Config.from_dict(config)


def test_what_changes_is_read_anew(tmp_path: Path) -> None:
    ecofed.load_plugin(PLUGIN)
    name = f"npz:{write(tmp_path / 'arrays')}"
    first, again = load_dataset(name), load_dataset(name)
    assert np.array_equal(first.train.images_NHWC, again.train.images_NHWC)
    write(tmp_path / "arrays", shift=1)
    assert not np.array_equal(first.train.images_NHWC, load_dataset(name).train.images_NHWC)
    registry._formats["npz"] = registry.FormatEntry(  # another version of the plug-in
        cls=registry._formats["npz"].cls, origin=registry.Origin(plugin="own_format.py", version="", digest="other")
    )
    cached = sorted((tmp_path / "cache").rglob("*.npz"))
    load_dataset(name)
    assert sorted((tmp_path / "cache").rglob("*.npz")) != cached


def test_files_of_pictures_are_decoded_here(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("any")

    def encoded() -> Iterator[tuple[str, bytes]]:
        for level in (0, 100, 200):
            stream = io.BytesIO()
            Image.fromarray(np.full((64, 48, 3), level, np.uint8)).save(stream, "PNG")
            yield f"picture {level}", stream.getvalue()

    @ecofed.register_format
    class Listed:
        name, layout = "listed", "a list"

        @staticmethod
        def find(path: Path) -> list[Path]:
            return [path]

        @staticmethod
        def read(path: Path, part: str) -> Pictures:  # noqa: ARG004
            return Pictures(images=encoded, labels=[2, 5, 2])

    found = load_dataset(f"listed:{tmp_path / 'list.txt'}")
    assert found.train.images_NHWC.shape == (3, 32, 32, 3)
    assert found.train.images_NHWC[:, 16, 16, 0].tolist() == [0, 100, 200]
    assert (found.classes, found.train.labels_N.tolist()) == (("2", "5"), [0, 1, 0])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("npz:nowhere", "data.name = 'npz:nowhere': no such file or folder"),
        ("npz:empty", "data.name = 'npz:empty': holds no such data; expected train.npz and test.npz.*found nothing"),
        ("npz:broken", r"broken: the format 'npz' cannot read it .ValueError: "),
        ("npz:floats", "floats: its train part has images of float64"),
        ("npz:strange", r"strange: its train part has labels 0\.\.2 for 2 classes"),
        ("nps:broken", "'nps:broken'.*a data format 'nps' is not known, load its plug-in with --plugin"),
        ("nps:./broken", "a data format 'nps' is not known, load its plug-in with --plugin"),
    ],
)
def test_one_line(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "broken", "floats"):
        Path(folder).mkdir()
    Path("broken", "train.npz").write_text("no such thing")
    np.savez("floats/train.npz", images=np.zeros((3, 28, 28, 1)), labels=np.arange(3))
    write(Path("strange"))
    with np.load("strange/train.npz") as arrays:
        np.savez("strange/train.npz", **{**arrays, "classes": ["a", "b"]})
    ecofed.load_plugin(PLUGIN)
    with pytest.raises(DataError, match=said):
        load_dataset(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class A: name = 'arrays'", "format 'arrays': the name is taken"),
        ("class A: name = 'a:b'", "format 'a:b': a name is lower-case letters"),
        ("class A:\n name = 'a'\n layout = ''\n find = None", "format 'a': has no 'read'"),
    ],
)
def test_what_is_no_format(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "strange_format.py").write_text(f"import ecofed\n@ecofed.register_format\n{text}")
    with pytest.raises(ConfigError, match=said):
        ecofed.load_plugin(tmp_path / "strange_format.py")
    assert Settings.load(None, ["data.name=a:b"]).for_method("ecofed").data.name == "a:b"
