"""What is set and changes nothing is said; what changes something is not."""

from __future__ import annotations

import pytest

from ecofed.config import Settings
from ecofed.config.methods import PAPER_METHODS
from ecofed.errors import ConfigError
from ecofed.runs.without_effect import without_effect


def notes(*sets: str, methods: tuple[str, ...] = ("ecofed",), one: bool = True) -> list[str]:
    return without_effect(Settings.load("quickstart", sets), methods, one=one)


@pytest.mark.parametrize(
    ("assignment", "methods", "words"),
    [
        ("classic-fl.learning_rate=0.1", ("ecofed",), "classic-fl is not trained here, ecofed is"),
        ("fedgkt.temperature=2", ("ecofed", "lgl"), "fedgkt is not trained here, ecofed, lgl are"),
        ("codec.bits=4", ("classic-fl",), "it needs a method that uploads codes, such as ecofed"),
        ("front.delivery=preinstalled", ("lgl",), "it needs a method whose front is frozen, such as ecofed"),
        ("ecofed.learning_rate=0.1", ("classic-fl",), "ecofed is not trained here"),
        ("classic-fl.codec.bits=4", ("classic-fl", "ecofed"), "it needs a method that uploads codes"),
        ("ecofed.period=4", ("ecofed",), "it needs ecofed.refresh=period"),
        ("ecofed.memorised=0.2", ("ecofed",), "it needs ecofed.refresh=plateau"),
        ("lgl.ecofed.period=4", ("lgl", "ecofed"), "lgl does not read the settings of ecofed"),
        ("front.bytes_per_image=64", ("ecofed",), "it needs a backbone's own front"),
        ("codec.density=0.2", ("ecofed",), "it needs codec.name=top-k"),
        ("ecofed.buffer_bytes=2000000", ("ecofed",), "it needs ecofed.buffer=disk"),
        ("ecofed.early_bits=4", ("ecofed",), "it needs ecofed.device_cuts"),
        ("data.alpha=0.1", ("lgl",), "it needs data.partition=dirichlet or data.partition=quantity"),
        ("lgl.data.shards_per_device=2", ("lgl",), "it needs data.partition=shards"),
        ("availability.slow_factor=2", ("lgl",), "it needs availability.slow_share above 0"),
        ("availability.cycle_rounds=2", ("lgl",), "it needs availability.share below 1"),
    ],
)
def test_a_key_that_changes_nothing_is_said(assignment: str, methods: tuple[str, ...], words: str) -> None:
    sets = ["data.partition=iid", "availability.share=1"]
    (note,) = notes(*sets, assignment, methods=methods)
    assert note.startswith(f"{assignment} changes nothing: {words}")


@pytest.mark.parametrize(
    ("sets", "methods"),
    [
        (("ecofed.refresh=period", "ecofed.period=4"), ("ecofed",)),
        (("data.partition=dirichlet", "data.alpha=0.1"), ("lgl",)),
        (("data.partition=iid", "lgl.data.partition=quantity", "data.alpha=0.1"), ("classic-fl", "lgl")),
        (("front.name=random", "front.delivery=preinstalled"), ("closed-form",)),
        (("classic-fl.learning_rate=0.1", "lgl.rounds=3"), PAPER_METHODS),
        (("availability.slow_share=0.1", "availability.slow_factor=2"), ("lgl",)),
        (("method=lgl", "rounds=3"), ("lgl",)),
        (("model.name=efficientnet-lite0", "front.bytes_per_image=64"), ("ecofed",)),
    ],
)
def test_a_key_that_changes_something_is_not(sets: tuple[str, ...], methods: tuple[str, ...]) -> None:
    assert notes(*sets, methods=methods) == []


def test_a_comparison_is_told_that_its_option_names_the_methods() -> None:
    assert notes("method=lgl", one=False) == ["method=lgl changes nothing: --methods says which methods are trained"]


def test_profiles_that_no_device_has_are_said() -> None:
    few = ("devices=2", "sampled_devices=1")
    assert notes(*few, "clock.device=raspberry-pi-3:2,raspberry-pi-5", "clock.link=4g,wifi,4g") == [
        "clock.device: no device has 'raspberry-pi-5', the pattern is longer than the 2 devices of the run"
    ]
    assert notes(*few, "ecofed.device_cuts=block1:2,block2", methods=("ecofed", "lgl")) == [
        "ecofed.device_cuts: no device has 'block2', the pattern is longer than the 2 devices of the run"
    ]
    with pytest.raises(ConfigError, match=r"clock\.device: 'raspberry-pi-3:0'"):
        notes("clock.device=raspberry-pi-3:0")
