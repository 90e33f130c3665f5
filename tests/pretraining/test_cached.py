"""Built-in pre-training: once per machine, then from the user's cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from ecofed.config.problem import ModelConfig
from ecofed.config.schema import Config
from ecofed.models import build_model, initialise, partition
from ecofed.models.bottleneck import add_expansion
from ecofed.pretraining import Recipe, cached, load_images, random_front, shipped_front
from ecofed.pretraining.resolve import resolve_front, resolve_whole
from ecofed.runs.preparation import prepare, without_last_layer

MODEL = ModelConfig(name="lenet", width=0.125, head_width=8)


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache of its own, one epoch of a few fractals."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cached, "DEFAULT_RECIPE", Recipe(epochs=1, batch_size=16))
    monkeypatch.setattr(cached, "default_source", lambda: "fractals")
    few = load_images("fractals", channels=1, limit=32)
    monkeypatch.setattr(cached, "load_images", lambda _, channels: few)  # noqa: ARG005


def config(**changes: object) -> Config:
    values = {"model": {"name": "lenet", "width": 0.125, "head_width": 8}, "front": {"name": "pretrain"}}
    return Config.from_dict(values).replace(**changes)


@pytest.mark.ci
def test_a_front_is_made_once(tmp_path: Path) -> None:
    notes: list[str] = []
    first = resolve_front(config(), "block2", 1, notes.append)
    assert notes[0] == "pre-training a lenet front on fractals, 1 epochs, once for this machine"
    assert notes[1].startswith("epoch 1 of 1: loss ")
    again = resolve_front(config(threads=2), "block2", 1, notes.append)
    assert len(notes) == 2
    assert again.id == first.id
    assert len(list((tmp_path / "ecofed" / "fronts").glob("front-*.safetensors"))) == 1
    assert resolve_front(config(normalisation="group"), "block2", 1, notes.append).normalisation == "group"


@pytest.mark.ci
def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    first = resolve_front(config(), "block2", 1, lambda _: None)
    (path,) = (tmp_path / "ecofed" / "fronts").iterdir()
    path.write_bytes(b"damaged")
    notes: list[str] = []
    assert resolve_front(config(), "block2", 1, notes.append).id == first.id
    assert "cannot be read" in notes[0]


def test_a_back_is_trained_over_the_frozen_front_and_fits_the_network(tmp_path: Path) -> None:
    front = random_front(MODEL, 1, 0)
    arrays = cached.cached_back(MODEL, "block2", front, threads=1, note=lambda _: None)
    model = build_model(MODEL, in_channels=1, classes=32, normalisation="running")
    expected = {name: tuple(value.shape) for name, value in partition(model, "block2").back.state_dict().items()}
    assert {name: array.shape for name, array in arrays.items()} == expected
    again = cached.cached_back(MODEL, "block2", front, threads=1, note=lambda _: None)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)
    (path,) = (tmp_path / "ecofed" / "fronts").iterdir()
    path.write_bytes(b"damaged")
    remade = cached.cached_back(MODEL, "block2", front, threads=1, note=lambda _: None)
    assert all(np.array_equal(arrays[name], remade[name]) for name in arrays)


def test_whole_initialisation_gives_the_backs_weights() -> None:
    settings = dataclasses.replace(config(front__name="random"), initialisation="whole")
    arrays = resolve_whole(settings, "block2", 1, lambda _: None)
    assert "head.hidden1.weight" in arrays
    assert not [name for name in arrays if name.startswith(("block1", "block2"))]


def test_the_last_layer_for_other_classes_is_left_out_however_many_they_are() -> None:
    back = partition(build_model(MODEL, in_channels=1, classes=10, normalisation="running"), "block2").back
    add_expansion(back, 2, 8)  # which stands after the last layer in the state, and comes first
    initialise(back, 1)
    others = {name: value.numpy() + 1 for name, value in back.state_dict().items() if value.is_floating_point()}
    kept = without_last_layer(others, back)
    assert others.keys() - kept.keys() == {"head.classifier.weight", "head.classifier.bias"}
    assert {"expansion.conv.weight", "head.hidden1.weight"} <= kept.keys()


def test_a_run_from_a_whole_network_of_as_many_classes_starts_its_last_layer_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Digits have ten classes. So may have the public images: class 3 of these is nothing of class 3 of those."""
    settings = dataclasses.replace(config(front__name="random", data__name="digits"), initialisation="front")
    start = prepare(settings, lambda _: None).halves.back.state_dict()
    others = {name: value.numpy() + 1 for name, value in start.items() if value.is_floating_point()}
    monkeypatch.setattr("ecofed.runs.preparation.resolve_whole", lambda *_: others)
    whole = prepare(dataclasses.replace(settings, initialisation="whole"), lambda _: None).halves.back.state_dict()
    assert np.array_equal(whole["head.classifier.weight"], start["head.classifier.weight"])
    assert np.array_equal(whole["head.hidden1.weight"], others["head.hidden1.weight"])


@pytest.mark.ci
def test_a_back_over_a_bottleneck_begins_with_the_expansion() -> None:
    front = shipped_front("vgg11-w0.5-rgb-64b").load()
    model = ModelConfig(name="vgg11", width=0.5, head_width=8)
    images = dataclasses.replace(load_images("fractals", channels=3, limit=32), mean=front.mean, std=front.std)
    arrays = cached.pretrain_back(model, "block2", front, images, Recipe(epochs=1, batch_size=16), lambda _: None)
    for name, start in front.expansion.items():
        assert arrays[f"expansion.{name}"].shape == start.shape
    start = front.expansion["conv.weight"]
    moved = np.abs(arrays["expansion.conv.weight"] - start).mean()
    assert 0 < moved < 0.5 * np.abs(start).mean()  # it went on from the front's own
