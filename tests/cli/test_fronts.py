"""``ecofed pretrain`` and ``ecofed front``."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from shutil import rmtree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_fakes import Cli
from PIL import Image

from ecofed.config import Config
from ecofed.config.problem import ModelConfig
from ecofed.data import load_dataset
from ecofed.planning.private import audit_of
from ecofed.pretraining import fractal_images, published
from ecofed.pretraining.audited import audited_front
from ecofed.pretraining.bundling import random_front
from ecofed.pretraining.checkpoint_front import read_checkpoint
from ecofed.pretraining.int8_weights import read_int8
from ecofed.pretraining.probe import probe_front, probe_pixels, probe_set
from ecofed.pretraining.published import Published
from ecofed.pretraining.shipped import shipped_front, shipped_fronts
from ecofed.wire import FrontBundle

QUICK = ["--images", "fractals", "--limit", "64", "--model", "lenet", "--width", "0.0625", "--threads", "1"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Class folders with a train and a test split, grey."""
    fractals = fractal_images(80, classes=2, channels=1)
    for number, (image_HWC, label) in enumerate(zip(fractals.images_NHWC, fractals.labels_N, strict=True)):
        folder = tmp_path / "pictures" / ("train" if number < 50 else "test") / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.squeeze(image_HWC, 2)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def test_pretrain_writes_a_bundle_and_its_card(cli: Cli, tmp_path: Path) -> None:
    ended = cli("pretrain", *QUICK, "--epochs", "2", "--out", "fronts/mine.safetensors", "--json")
    assert ended.code == 0
    assert "epoch 2/2" in ended.err
    card = json.loads(ended.out)
    bundle = FrontBundle.load(tmp_path / "fronts" / "mine.safetensors")
    assert card["id"] == bundle.id
    assert card["name"] == "mine"
    assert card["card"]["epochs"] == 2
    assert card["card"]["command"].startswith("ecofed pretrain --images fractals")
    assert sorted(path.name for path in (tmp_path / "fronts").iterdir()) == ["mine.json", "mine.safetensors"]
    again = cli("pretrain", *QUICK, "--out", "fronts/mine.safetensors")
    assert again.code == 2
    assert "is there already" in again.err


def test_pretrain_that_is_stopped_early_says_what_there_is_and_clears_up(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    left = tmp_path / f".mine.checkpoint.{'0' * 16}.tmp"
    left.write_bytes(b"of one that was killed")
    monkeypatch.setattr("ecofed.pretraining.pretrain_front", stopped)
    ended = cli("pretrain", *QUICK, "--out", "mine.safetensors")
    assert ended.code == 130
    assert "stopped; nothing has been written yet, continue with: ecofed pretrain" in ended.err
    assert not left.exists()
    (tmp_path / "mine.checkpoint").write_bytes(b"of an epoch")
    ended = cli("pretrain", *QUICK, "--out", "mine.safetensors", "--resume")
    assert "stopped; what is in mine.checkpoint is kept" in ended.err


def test_pretrain_takes_a_users_pictures_without_labels_through_a_bottleneck(cli: Cli, pictures: Path) -> None:
    words = ["--images", str(pictures), "--labels", "rotations", "--grey", "--channels", "3", "--bits", "1"]
    ended = cli("pretrain", *QUICK[4:], *words, "--epochs", "1", "--probe", str(pictures), "--out", "n.safetensors")
    assert ended.code == 0, ended.err
    assert ended.err.count("linear probe on pictures") == 2
    card = json.loads(Path("n.json").read_text())
    assert card["activation_shape"] == [3, 8, 8]
    assert card["card"]["bytes_per_image"] == 24
    assert card["card"]["images"] == "pictures, rotations"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "front.pt"], "must end in .safetensors"),
        (["--labels", "none"], "must be labels or rotations"),
        (["--channels", "3"], "give both --channels and --bits"),
        (["--model", "vgg12"], "did you mean 'vgg11'"),
        (["--start", "nothing"], "no front 'nothing'"),
    ],
)
def test_what_pretrain_refuses_in_one_line(cli: Cli, words: list[str], message: str) -> None:
    ended = cli("pretrain", *QUICK, *words)
    assert ended.code == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epochs", "2"], "--epochs: has no part in --bytes"),
        (["--labels", "labels"], "--labels: has no part in --bytes"),
        (["--threads", "1"], "--threads: has no part in --bytes"),
        (["--resume"], "--resume: has no part in --bytes"),
        (["--probe", "digits"], "--probe: has no part in --bytes"),
        (["--width", "0.5"], "--width 0.5: the published weights of efficientnet-lite0 are for its full width"),
        (["--size", "31"], "model.image_size = 31: efficientnet-lite0 takes pictures of 32 pixels and more"),
    ],
)
def test_what_has_no_part_in_a_bottleneck_of_given_bytes(cli: Cli, words: list[str], message: str) -> None:
    ended = cli("pretrain", "--images", "gone", "--model", "efficientnet-lite0", "--bytes", "100", *words)
    assert ended.code == 2
    assert ended.err.startswith(f"error: {message}")
    assert ended.err.count("\n") == 1


def test_what_trains_nothing_takes_no_epochs(cli: Cli) -> None:
    for words in (["--epochs", "1"], ["--bits", "2"], ["--start", "vgg11-w0.5-rgb"]):
        ended = cli("pretrain", "--checkpoint", "whole.pt", *words)
        assert (ended.code, ended.err.partition(",")[0]) == (2, f"error: {words[0]}: has no part in --checkpoint")


def test_what_is_probed_is_there_before_anything_is_trained(cli: Cli, pictures: Path) -> None:
    rmtree(pictures / "test")
    for name, message in (("gone/x", "no such file or folder"), (str(pictures), "pictures has no test split")):
        ended = cli("pretrain", *QUICK, "--epochs", "1", "--probe", name, "--out", "n.safetensors")
        assert ended.code == 1
        assert ended.err.startswith(f"error: --probe {name}: {message}")
        assert "epoch" not in ended.err


def test_shipped_fronts_are_listed_and_shown(cli: Cli) -> None:
    listed = json.loads(cli("front", "list", "--json").out)
    assert {"vgg11-w0.5-rgb", "resnet9-w0.5-rgb"} <= {front["name"] for front in listed}
    assert "vgg11-w0.5-rgb" in cli("front", "list").out
    shown = json.loads(cli("front", "show", "vgg11-w0.5-rgb", "--json").out)
    assert shown["activation_shape"] == [64, 8, 8]
    assert shown["card"]["images"] == "Tiny-ImageNet (32x32)"
    assert "Tiny-ImageNet" in cli("front", "show", "vgg11-w0.5-rgb").out


def test_what_audits_of_shipped_fronts_found_is_of_those_fronts(cli: Cli) -> None:
    text = resources.files("ecofed.pretraining").joinpath("audited.json").read_text(encoding="utf-8")
    audited = json.loads(text)["fronts"]
    for one in audited:
        bundle = shipped_front(one["name"]).load()
        assert bundle.id == one["front"]
        assert one["bits"] in bundle.upper
    assert all(audited_front(front.name, front.card["bits"]) for front in shipped_fronts())
    listed = cli("front", "list").out.splitlines()
    (row,) = (line for line in listed if line.startswith("vgg11-w0.5-rgb-256b "))
    known = audited_front("vgg11-w0.5-rgb-256b", 2)
    assert known is not None
    assert f" {known.ssim:.2f} " in row
    plan = Config().replace(codec__bits=2)
    assert audit_of(plan, known.front) == known
    for change in ({"method": "classic-fl"}, {"privacy__epsilon": 8.0}, {"ecofed__device_cuts": "block1,block2"}):
        assert audit_of(plan.replace(**change), known.front) is None


def test_check_compares_with_a_random_front_and_pixels(cli: Cli, pictures: Path) -> None:
    assert cli("pretrain", *QUICK, "--grey", "--epochs", "0", "--out", "f.safetensors").code == 0
    ended = cli("front", "check", str(pictures), "--front", "f.safetensors", "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["train_samples"] == 50
    assert found["test_samples"] == 30  # so few are not divided
    assert found["bytes_per_image"] == 4 * 8 * 8 // 2
    assert found["raw_bytes_per_image"] == 32 * 32
    sample = probe_set(load_dataset(str(pictures)))
    opponent = random_front(ModelConfig(name="lenet", width=0.0625), 1, 0)
    for key, bundle in (
        ("probe_accuracy", FrontBundle.load(Path("f.safetensors"))),
        ("random_front_accuracy", opponent),
    ):
        assert found[key] == probe_front(bundle, sample, 4)
    assert found["pixels_accuracy"] == probe_pixels(sample)
    assert found["advice"]
    assert found["advice"] in cli("front", "check", str(pictures), "--front", "f.safetensors").out
    colour = cli("front", "check", str(pictures), "--front", "vgg11-w0.5-rgb")
    assert colour.code == 2
    assert "the front takes 3" in colour.err


def test_check_reads_the_columns_that_it_is_told(cli: Cli, pictures: Path) -> None:
    assert cli("pretrain", *QUICK, "--grey", "--epochs", "0", "--out", "f.safetensors").code == 0
    for part in ("train", "test"):
        files = sorted((pictures / part).glob("*/*.png"))
        cells = [{"bytes": file.read_bytes(), "path": None} for file in files]
        table = pa.table({"img": cells, "species": [file.parent.name for file in files]})
        Path("set").mkdir(exist_ok=True)
        pq.write_table(table, f"set/{part}.parquet")
    words = ("front", "check", "set", "--front", "f.safetensors")
    refused = cli(*words)
    assert refused.code == 1
    assert "data.label_column" in refused.err
    assert cli(*words, "--set", "data.label_column=species").out.startswith("set ")
    assert "--set rounds: only data.image_column and" in cli(*words, "--set", "rounds=1").err


def test_weights_become_a_file_that_model_weights_takes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {
        "stem.conv.weight": np.ones((2, 3, 3, 3), np.float32),
        "head.classifier.weight": np.zeros((5, 1), np.float32),
    }
    found = Published(arrays=arrays, mean=(0.5,) * 3, std=(0.25,) * 3, origin="a test")
    words = ("weights", "efficientnet-lite0", "--weights", "theirs.pt", "--out", "lite0.safetensors")
    monkeypatch.setattr(published, "_published", lambda *asked: found if asked == words[1:4:2] else None)
    ended = cli(*words)
    assert ended.code == 0, ended.err
    assert ended.out.startswith("lite0.safetensors: 59 numbers, ")
    again = read_checkpoint(Path("lite0.safetensors"))
    assert again.keys() == arrays.keys()
    assert all(np.array_equal(again[name], array) for name, array in arrays.items())
    assert "is there already; add --overwrite" in cli(*words).err
    assert cli(*words, "--overwrite", "--int8").out.startswith("lite0.safetensors: 54 numbers, ")
    card, compact = read_int8(Path("lite0.safetensors")) or (None, {})
    assert card is not None
    assert (card.model, card.origin, card.licence) == ("efficientnet-lite0", "a test", "unknown")
    assert compact.keys() == {"stem.conv.weight"}


def test_only_backbones_have_weights(cli: Cli) -> None:
    ended = cli("weights", "vgg11", "--out", "w.safetensors")
    assert ended.code == 2
    assert ended.err == "error: vgg11: nobody published weights of it; choose efficientnet-lite0 or timm:NAME\n"
