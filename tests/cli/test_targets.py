"""What lies where a command writes: EcoFed's own is replaced when that is said, anybody else's never."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cli_fakes import Cli, fake_result
from PIL import Image
from safetensors.numpy import save_file

from ecofed.config.schema import Config, ModelConfig
from ecofed.costs.profiles import load_device
from ecofed.errors import CheckpointError
from ecofed.files.replacing import is_ours
from ecofed.onnx import Graph
from ecofed.onnx.graph import metadata_text
from ecofed.planning.measure import to_toml
from ecofed.pretraining import Recipe, load_images, write_front
from ecofed.pretraining.bundling import random_front
from ecofed.pretraining.pretrain import pretrain_front
from ecofed.pretraining.train import EpochReport
from ecofed.reports.files import write_result
from ecofed.reports.html import write_report
from ecofed.reports.plots.plan import write_plan_plots
from ecofed.wire import FrontBundle

#: Command, what it would write, and the option that says where.
WRITERS = [
    ("export front quickstart --out d", ["d/front.onnx", "d/front.safetensors", "d/device.json"], "--out"),
    ("export network run --out n.onnx", ["n.onnx"], "--out"),
    ("pretrain --images fractals --out f.safetensors", ["f.safetensors", "f.json"], "--out"),
    ("profile --out p.toml", ["p.toml"], "--out"),
    ("plan quickstart --plots d", ["d/plan.png", "d/timeline.png"], "--plots"),
    ("report run --out d", ["d/report.html", "d/plots/accuracy-bytes.png"], "--out"),
    ("report run", ["run/report.html"], "--out"),
]
CASES = [(command, file, option) for command, files, option in WRITERS for file in files]


def users_own(path: Path) -> bytes:
    """A file of that name that somebody else's program wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file({"weight": np.ones(2, np.float32)}, path)
    elif path.suffix == ".png":
        Image.new("L", (8, 8)).save(path)
    elif path.suffix == ".onnx":
        path.write_bytes(b"\x08\x08\x12\x07pytorch")
    else:
        text = {".json": '{"schema": "mine"}', ".toml": "rounds = 3\n", ".html": "<p>the EcoFed report of 2024</p>"}
        path.write_text(text[path.suffix], encoding="utf-8")
    return path.read_bytes()


@pytest.mark.parametrize(("command", "file", "option"), CASES)
def test_a_file_of_somebody_else_is_never_replaced(
    command: str, file: str, option: str, cli: Cli, tmp_path: Path
) -> None:
    write_result(fake_result(Config(rounds=2), ""), tmp_path / "run")
    before = users_own(tmp_path / file)
    may = command.startswith(("export", "pretrain", "profile"))
    for words in ([], ["--overwrite"]) if may else ([],):
        ended = cli(*command.split(), *words)
        assert ended.code == 2
        assert ended.error == (
            f"error: {file} is not a file that ecofed wrote; move it, or choose another place with {option}"
        )
        assert (tmp_path / file).read_bytes() == before


# --- our own ---


def onnx(path: Path) -> None:
    graph = Graph((1, 8, 8))
    path.write_bytes(graph.encode(graph.input, (1, 8, 8), metadata_text({"classes": []})))


def front(folder: Path, name: str) -> FrontBundle:
    bundle = random_front(ModelConfig(name="lenet", width=0.5), 1, 0, normalisation="frozen")
    write_front(bundle, folder, name)
    return bundle


def test_an_exported_network_is_replaced_when_that_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx(tmp_path / "n.onnx")
    before = (tmp_path / "n.onnx").read_bytes()
    monkeypatch.setattr("ecofed.runs.exporting.export_network", lambda _, file, **__: file.write_bytes(b"new"))
    ended = cli("export", "network", "run", "--out", "n.onnx")
    assert (ended.code, ended.error) == (
        2,
        "error: n.onnx is there already; add --overwrite to replace it, or choose another with --out",
    )
    assert (tmp_path / "n.onnx").read_bytes() == before
    assert cli("export", "network", "run", "--out", "n.onnx", "--overwrite").code == 0
    assert (tmp_path / "n.onnx").read_bytes() == b"new"


def test_a_folder_for_devices_is_replaced_when_that_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front(tmp_path / "d", "front")
    onnx(tmp_path / "d" / "front.onnx")
    asked: list[Path] = []

    def export(_: Config, folder: Path, *__: object, **___: object) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(front_id="f", front=b"")

    monkeypatch.setattr("ecofed.runs.exporting.export_front", export)
    words = ["export", "front", "quickstart", "--out", "d"]
    assert cli(*words).error.startswith("error: d/front.onnx is there already; add --overwrite")
    assert asked == []
    assert cli(*words, "--overwrite").code == 0
    assert asked == [Path("d")]


def test_a_front_and_its_card_are_replaced_when_that_is_said(cli: Cli, tmp_path: Path) -> None:
    before = front(tmp_path, "f")
    words = ["pretrain", "--images", "fractals", "--limit", "40", "--model", "lenet", "--width", "0.5", "--grey"]
    words += ["--epochs", "0", "--threads", "1", "--out", "f.safetensors"]
    assert cli(*words).error == (
        "error: f.safetensors is there already; add --overwrite to replace it, or choose another with --out"
    )
    (tmp_path / "f.safetensors").rename(tmp_path / "g.safetensors")  # a card alone is worth a word, too
    assert cli(*words).error.startswith("error: f.json is there already")
    assert cli(*words, "--overwrite").code == 0
    assert FrontBundle.load(tmp_path / "f.safetensors").id != before.id


def test_a_profile_is_replaced_when_that_is_said(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.toml").write_text(to_toml(load_device("raspberry-pi-3")), encoding="utf-8")
    monkeypatch.setattr("ecofed.planning.measure.measure", lambda *_, **__: load_device("raspberry-pi-5"))
    assert cli("profile", "--out", "p.toml").error.startswith("error: p.toml is there already; add --overwrite")
    assert cli("profile", "--out", "p.toml", "--overwrite").code == 0
    assert load_device("p.toml").memory_bytes == load_device("raspberry-pi-5").memory_bytes


def test_pages_and_plots_are_drawn_anew(cli: Cli, tmp_path: Path) -> None:
    result = fake_result(Config(rounds=2), "")
    write_result(result, tmp_path / "run")
    write_report(result, tmp_path / "d")
    assert all(map(is_ours, [tmp_path / "d" / "report.html", *(tmp_path / "d" / "plots").iterdir()]))
    (tmp_path / "d" / "report.html").write_text("<p class='kicker'>EcoFed report", encoding="utf-8")
    assert cli("report", "run", "--out", "d").code == 0
    assert (tmp_path / "d" / "report.html").stat().st_size > 10_000
    row = {"method": "ecofed", "cut": "block2", "position": 0, "seconds_per_round": 1.0, "bytes_per_round": 9}
    written = write_plan_plots([row], {"ecofed": [["server", "train", 0.0, 1.0]]}, tmp_path / "plan")
    assert written
    assert all(map(is_ours, written))


def test_plots_of_earlier_versions_are_known_by_where_they_lie(tmp_path: Path) -> None:
    old = tmp_path / "run" / "plots" / "accuracy-bytes.png"
    users_own(old)
    assert not is_ours(old)
    write_result(fake_result(Config(rounds=2), ""), tmp_path / "run")
    assert is_ours(old)


# --- pre-training that goes on ---


def test_a_users_network_beside_the_front_is_neither_asked_about_nor_removed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = random_front(ModelConfig(name="lenet", width=0.5), 1, 0, normalisation="frozen")
    monkeypatch.setattr("ecofed.pretraining.checkpoint_front.front_from_checkpoint", lambda *_: bundle)
    (tmp_path / "f.checkpoint").write_bytes(b"my network")
    words = [
        "--images",
        "fractals",
        "--limit",
        "40",
        "--grey",
        "--checkpoint",
        "f.checkpoint",
        "--out",
        "f.safetensors",
    ]
    ended = cli("pretrain", *words)
    assert ended.code == 0, ended.err
    assert (tmp_path / "f.checkpoint").read_bytes() == b"my network"


@pytest.mark.ci
def test_pre_training_is_not_continued_on_other_images(tmp_path: Path) -> None:
    def images(change: Callable[[np.ndarray], None] = lambda _: None) -> object:
        made = load_images("fractals", channels=1, limit=40)
        change(made.images_NHWC)
        return made

    def stop(_: EpochReport) -> None:
        raise KeyboardInterrupt

    def darker(images_NHWC: np.ndarray) -> None:
        images_NHWC[7, 3, 3] //= 2
        images_NHWC[7, 3, 3] += 1

    recipe, path = Recipe(epochs=2, threads=1, batch_size=20), tmp_path / "f.checkpoint"
    small = ModelConfig(name="lenet", width=0.25)
    with pytest.raises(KeyboardInterrupt):
        pretrain_front(small, images(), recipe, report=stop, checkpoint=path)
    with pytest.raises(CheckpointError, match=r"the public images have changed since \([0-9a-f]{12} then, "):
        pretrain_front(small, images(darker), recipe, checkpoint=path)
    pretrain_front(small, images(), recipe, checkpoint=path)


@pytest.mark.parametrize("content", [b"", b"{", b'{"round": 1, "dev', b'{"round": 1, "dev\0\0\0', bytes(300), b"\n"])
def test_a_first_record_that_a_crash_cut_off_is_ours(content: bytes, tmp_path: Path) -> None:
    """Records are not flushed one by one: after a power cut their blocks may be missing, or zeros."""
    (tmp_path / "metrics.jsonl").write_bytes(content)
    assert is_ours(tmp_path / "metrics.jsonl")


@pytest.mark.parametrize("content", [b"{}", b'{"loss": 1', b"mine", b"\0mine", b'{"round": 1, \n', b'{"round": 1}\n'])
def test_records_of_others_are_not(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    assert not is_ours(tmp_path / "metrics.jsonl")
