"""What training saw of a picture is what evaluation, ``predict``, ONNX files and devices see of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ecofed
from ecofed.data.jpeg import JpegBatch, decompress_images
from ecofed.devices.starting import load_worker
from ecofed.runs import prediction
from ecofed.runs.exporting import export_network
from ecofed.runs.preparation import prepare
from ecofed.runs.saved_model import load_model
from ecofed.wire import Images, SendImages, decode, encode
from tiny_resnet import tiny_settings

SIX = Image.Exif()
SIX[0x0112] = 6


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_scans(folder: Path) -> Path:
    """Scans of 12 bits in files of 16, stored lying on their side: bright above ("sky") or below ("sea")."""
    draw = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 12)):
        for name, rows in (("sea", slice(16, 32)), ("sky", slice(0, 16))):
            place = folder / part / name
            place.mkdir(parents=True)
            for number in range(count):
                upright = draw.integers(0, 2000, (32, 32), np.uint16)
                upright[rows] += 2000
                lying = np.ascontiguousarray(np.rot90(upright))
                Image.fromarray(lying).save(place / f"{number}.png", exif=SIX)
    return folder


def trained(data: Path, out: Path) -> ecofed.RunResult:
    return ecofed.run(tiny_settings(data, rounds=3, learning_rate=0.05), out=out, report=False)


@pytest.mark.ci
def test_a_trained_network_and_its_onnx_file_know_what_was_white(tmp_path: Path) -> None:
    data = write_scans(tmp_path / "scans")
    trained(data, tmp_path / "run")
    network = load_model(tmp_path / "run")
    assert network.task.white == 4095
    assert ecofed.evaluate(tmp_path / "run").accuracy == 1
    export_network(tmp_path / "run", tmp_path / "network.onnx")
    test = sorted((data / "test").rglob("*.png"))
    for model in (tmp_path / "run", tmp_path / "network.onnx"):
        answers = ecofed.predict(model, data / "test")
        assert [answer.label for answer in answers] == [file.parent.name for file in test]
    # The very pixels: one number that predict sees against what the data set holds.
    seen, needs = prediction._read_image(test[0], network.task)
    stored = np.rot90(np.asarray(Image.open(test[0])), -1)
    np.testing.assert_array_equal(seen[..., 0], np.rint(stored * (255 / 4095)))
    assert needs == 4095


def test_predict_says_which_pictures_are_brighter_than_white(tmp_path: Path) -> None:
    trained(write_scans(tmp_path / "scans"), tmp_path / "run")
    Image.fromarray(np.full((32, 32), 60_000, np.uint16)).save(tmp_path / "bright.png")
    with pytest.warns(
        UserWarning, match=r"1 of 1 pictures hold numbers above 4,095, .* \(bright\.png\); they are white"
    ):
        ecofed.predict(tmp_path / "run", tmp_path / "bright.png")


@pytest.mark.parametrize(("white", "sky", "sea"), [(4095, 187, 62), (65535, 12, 4)])
def test_a_device_shows_its_pictures_as_the_server_does_and_sends_them_upright(
    white: int, sky: int, sea: int, tmp_path: Path
) -> None:
    data = write_scans(tmp_path / "scans")
    task = replace(prepare(tiny_settings(data, method="send-images"), lambda _: None).task, white=white)
    reply, _ = decode(load_worker(task, 0, "cpu").handle(encode(SendImages(round=1, quality=75, size=0)).data))
    assert isinstance(reply, Images)
    images_NHWC = decompress_images(JpegBatch(header=reply.header, bodies=reply.bodies, lengths_N=reply.lengths_N), 1)
    above = images_NHWC[reply.labels_N == 1].astype(float)
    assert above[:, :14].mean() == pytest.approx(sky, abs=2)
    assert above[:, 18:].mean() == pytest.approx(sea, abs=2)
