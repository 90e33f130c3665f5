"""The fronts in the package, and which one a configuration means."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from ecofed.activations import saturation_warned
from ecofed.config.schema import Config
from ecofed.data import load_dataset, to_input
from ecofed.errors import ConfigError
from ecofed.models import build_front
from ecofed.pretraining import find_shipped, random_front, shipped_front, shipped_fronts
from ecofed.pretraining.bundling import weights_digest
from ecofed.pretraining.limits import saturated_fraction
from ecofed.pretraining.resolve import resolve_front

NAMES = [front.name for front in shipped_fronts()]
FOLDER = resources.files("ecofed") / "fronts"


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_front_is_what_its_card_says(name: str) -> None:
    front, bundle = shipped_front(name), shipped_front(name).load()
    content = (FOLDER / f"{name}.safetensors").read_bytes()
    written = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert len(content) < 400_000
    assert written["file_sha256"] == sha256(content).hexdigest()
    assert written["id"] == bundle.id
    assert written["card"] == dict(bundle.card)
    assert front.card["weights_sha256"] == weights_digest(bundle.weights)
    assert {"images", "command", "seed", "epochs", "probe_accuracy", "probe_data", "licence"} <= set(front.card)
    assert front.card["saturated_fraction"] < 0.2
    assert front.card["command"].startswith("ecofed pretrain ")
    assert front.bottleneck == bool(bundle.expansion)
    assert not build_front(bundle, bundle.normalisation).training


def test_the_plain_front_of_a_model_is_found() -> None:
    found = find_shipped("vgg11", 0.5, "block2", 3)
    assert found is not None
    assert found.name == "vgg11-w0.5-rgb"
    assert not found.bottleneck
    narrow = find_shipped("vgg11", 0.5, "block2", 3, narrow=(128, 2))
    assert narrow is not None
    assert narrow.name == "vgg11-w0.5-rgb-128b"
    assert find_shipped("vgg11", 0.5, "block2", 3, narrow=(128, 3)) is None
    assert find_shipped("vgg11", 0.5, "block3", 3) is None
    assert find_shipped("vgg11", 0.5, "block2", 3, normalisation="group") is None


def test_vgg11_and_resnet9_share_their_fronts_weights() -> None:
    vgg11, resnet9 = (shipped_front(f"{model}-w0.5-rgb").load() for model in ("vgg11", "resnet9"))
    assert weights_digest(vgg11.weights) == weights_digest(resnet9.weights)
    assert vgg11.id != resnet9.id


def config(**changes: object) -> Config:
    return Config.from_dict({"model": {"name": "vgg11", "width": 0.5}}).replace(**changes)


def resolve(settings: Config, channels: int = 3) -> tuple[str, list[str]]:
    notes: list[str] = []
    return resolve_front(settings, "block2", channels, notes.append).id, notes


def test_auto_is_the_shipped_front_and_says_nothing() -> None:
    assert resolve(config()) == (shipped_front("vgg11-w0.5-rgb-256b").load().id, [])
    full_size = (shipped_front("vgg11-w0.5-rgb").load().id, [])
    assert resolve(config(codec__bits=4)) == full_size
    assert resolve(config(codec__name="minmax", codec__bits=8)) == full_size
    assert resolve(config(method="classic-fl")) == full_size
    assert resolve(config(normalisation="batch")) == resolve(config())


def test_auto_without_a_shipped_front_is_a_random_one_and_says_so() -> None:
    settings = config(model__width=0.0625)
    identity, notes = resolve(settings)
    assert identity == random_front(settings.model, 3, 0).id
    assert len(notes) == 1
    assert "no shipped front for vgg11 x 0.0625" in notes[0]


@pytest.mark.ci
@pytest.mark.parametrize("changes", [{"front__name": "random"}, {"initialisation": "random"}])
def test_a_random_front_follows_the_seed(changes: dict[str, object]) -> None:
    settings = config(seed=3, **changes)
    assert resolve(settings) == (random_front(settings.model, 3, 3).id, [])


def test_fronts_by_name_and_by_file(tmp_path: Path) -> None:
    by_name, _ = resolve(config(front__name="vgg11-w0.5-rgb"))
    path = tmp_path / "mine.safetensors"
    shipped_front("vgg11-w0.5-rgb").load().save(path)
    assert resolve(config(front__name=str(path)))[0] == by_name
    with pytest.raises(ConfigError, match=r"is for vgg11 x 0.5 .*this run has vgg11 x 0.25"):
        resolve(config(front__name=str(path), model__width=0.25))
    with pytest.raises(ConfigError, match=r"3 channels; this run has .* 1 channels"):
        resolve(config(front__name="vgg11-w0.5-rgb"), channels=1)
    with pytest.raises(ConfigError, match=r"no front 'vgg11-w0.5-rbg' \(did you mean 'vgg11-w0.5-rgb'\?\)"):
        resolve(config(front__name="vgg11-w0.5-rbg"))


def test_the_limits_of_the_grey_front_tell_pictures_from_noise() -> None:
    front = shipped_front("vgg11-w0.25-grey-256b").load()
    network = build_front(front, "frozen").eval()

    def saturated(images_NHWC: np.ndarray) -> float:
        with torch.no_grad():
            h_NCHW = network(torch.from_numpy(to_input(images_NHWC, front.mean, front.std, 32))).numpy()
        return saturated_fraction(h_NCHW, front.upper[2])

    assert saturated(load_dataset("digits").train.images_NHWC[:200]) < 0.2
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 1)).astype(np.uint8)
    assert saturated(noise) > saturation_warned(2)
