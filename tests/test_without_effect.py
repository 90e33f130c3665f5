"""What is set and changes nothing is said; what changes something is not."""

from __future__ import annotations

import pytest

from ecofed.config import Settings
from ecofed.config.methods import PAPER_METHODS
from ecofed.errors import ConfigError
from ecofed.runs.sweep import planned, without_effect_in
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
        ("classic-fl.server_momentum=0.5", ("classic-fl",), "it needs classic-fl.server=momentum or classic-fl.serv"),
        ("classic-fl.server_learning_rate=0.1", ("classic-fl",), "it needs classic-fl.server=momentum or"),
        ("ecofed.views=3", ("ecofed",), "it needs ecofed.refresh=period, spread or plateau"),
        ("ecofed.uplink_budget_bytes=900", ("ecofed",), "it needs ecofed.refresh=period, spread or plateau"),
        ("aggregation=equal", ("ecofed",), "it needs ecofed.server=fedavg"),
        ("aggregation=equal", ("send-images",), "send-images averages nothing over devices"),
        ("local_epochs=2", ("ecofed", "send-images"), "devices of ecofed do not train; devices of send-images do not"),
        ("ecofed.local_epochs=2", ("ecofed", "classic-fl"), "devices of ecofed do not train"),
        *(
            (f"{key}=1", ("closed-form",), "closed-form makes no step of SGD")
            for key in ("learning_rate", "batch_size", "local_epochs")
        ),
        ("momentum=0.5", ("closed-form",), "closed-form makes no step of SGD"),
        ("keep_buffer=true", ("classic-fl", "lgl"), "classic-fl has no replay buffer that could be kept; lgl has no"),
        ("kept_samples=9", ("ecofed",), "it needs keep_buffer=true"),
        ("kept_per_class=9", ("send-images",), "send-images has no replay buffer that could be kept"),
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
        (("classic-fl.server=adam", "classic-fl.server_momentum=0.5"), ("classic-fl",)),
        (("ecofed.refresh=spread", "ecofed.views=3"), ("ecofed",)),
        (("ecofed.views=1", "keep_buffer=false"), ("ecofed", "classic-fl")),
        (("ecofed.server=fedavg", "aggregation=equal", "momentum=0.5"), ("ecofed",)),
        (("aggregation=equal", "local_epochs=2", "batch_size=9"), ("closed-form", "ecofed", "lgl")),
        (("keep_buffer=true", "kept_samples=9"), ("classic-fl", "ecofed")),
        (("ecofed.optimiser=adamw", "momentum=0.5"), ("ecofed", "classic-fl")),
    ],
)
def test_a_key_that_changes_something_is_not(sets: tuple[str, ...], methods: tuple[str, ...]) -> None:
    assert notes(*sets, methods=methods) == []


@pytest.mark.parametrize(
    "assignment",
    [
        *("optimiser=adamw", "mixup=0.2", "ema=0.9", "label_smoothing=0.1", "sampling=class", "warm_up=0.1"),
        *("weight_decay=0.1", "schedule=constant", "statistics=frozen", "server_steps=3", "fresh_momentum=true"),
    ],
)
def test_a_back_for_each_device_is_trained_plainly(assignment: str) -> None:
    (note,) = notes("ecofed.server=fedavg", f"ecofed.{assignment}")
    assert note == f"ecofed.{assignment} changes nothing: it needs ecofed.server=pooled"
    assert notes(f"ecofed.{assignment}") == []


def test_what_an_optimiser_does_not_read_is_said() -> None:
    sets = ("ecofed.optimiser=adamw", "send-images.optimiser=adamw", "momentum=0.5")
    assert notes(*sets, methods=("ecofed", "send-images")) == [
        "momentum=0.5 changes nothing: it needs ecofed.optimiser=sgd; it needs send-images.optimiser=sgd"
    ]


def sweep_notes(*sets: str, views: tuple[int, ...] = (1,), baselines: tuple[str, ...] = ()) -> list[str]:
    settings = Settings.load("quickstart", sets)
    runs = planned(settings, bits=(2, 8), views=views, fronts=("auto",), baselines=baselines)
    return without_effect_in(settings, runs)


def test_a_sweep_says_what_its_options_decide() -> None:
    for assignment in ("codec.bits=4", "ecofed.codec.bits=4"):
        assert sweep_notes(assignment) == [f"{assignment} changes nothing: it is decided by --bits"]
    assert sweep_notes("ecofed.views=3") == ["ecofed.views=3 changes nothing: it is decided by --views"]
    (note,) = sweep_notes("ecofed.front.name=random", baselines=("paper", "closed-form"))
    assert note == "ecofed.front.name=random changes nothing: it is decided by --fronts and the baseline 'paper'"
    assert sweep_notes("front.name=random", baselines=("closed-form",)) == []
    assert sweep_notes("ecofed.period=3", baselines=("paper",)) == [
        "ecofed.period=3 changes nothing: it is decided by the baseline 'paper'"
    ]
    assert sweep_notes("ecofed.period=3", "ecofed.flip=0.5", views=(1, 0)) == []
    (note,) = sweep_notes("method=lgl")
    assert note == "method=lgl changes nothing: a sweep is of ecofed, and --baselines says what stands beside it"


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
