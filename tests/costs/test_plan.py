"""``ecofed plan`` as a whole: it agrees with a run, says what does not fit, and recommends."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecofed.config import Settings
from ecofed.config.schema import Config
from ecofed.costs.profiles import load_device, load_link
from ecofed.costs.rounds import Fleet
from ecofed.costs.steps import Stop, device_memory
from ecofed.data.dataset import ImageSet
from ecofed.errors import ConfigError, ModelError
from ecofed.methods import EcoFed
from ecofed.planning.answer import Plan
from ecofed.planning.cut_network import build_workload, counted_network, stand_in_bundle
from ecofed.planning.method_plan import MethodPlan
from ecofed.planning.planner import plan, plan_run
from ecofed.planning.recommend import recommend
from ecofed.pretraining.audited import audited_front
from ecofed.runs import experiment
from plain import PLAIN_SETS

TINY = [
    "model.name=lenet",
    "data.name=digits",
    "devices=6",
    "sampled_devices=3",
    "rounds=4",
    "batch_size=10",
    "data.samples_per_device=20",
    "test_samples=20",
    "initialisation=random",
    "normalisation=group",
    *PLAIN_SETS,
]
#: A quarter of VGG11 on colour images, in batches of ten.
QUARTER = ["model.width=0.25", "batch_size=10", "codec.entropy=none"]


@pytest.mark.parametrize("method", ["classic-fl", "ecofed"])
@pytest.mark.parametrize("more", [[], ["model.back_width=0.25"]], ids=["", "narrower back"])
def test_bytes_and_time_are_those_of_the_run(method: str, more: list[str]) -> None:
    settings = Settings.load(None, [*TINY, f"method={method}", *more])
    (row,) = plan(settings, [method]).at_cut
    result = experiment.run(settings.for_method(method), report=False)
    assert (row.total_uplink_bytes, row.total_downlink_bytes) == (
        result.totals.uplink_bytes,
        result.totals.downlink_bytes,
    )
    assert row.exact_seconds
    assert row.total_seconds == pytest.approx(result.totals.simulated_seconds)
    joules = [record.device_joules or 0.0 for record in result.rounds]
    assert row.joules_per_round == pytest.approx(sum(joules) / 4)


@pytest.mark.ci
def test_the_front_of_a_method_without_codes_is_compressed_in_plan_and_card_as_on_its_way() -> None:
    settings = Settings.load(
        None, [*TINY, "method=closed-form", "front.precision=compact", "sampled_devices=6", "rounds=1"]
    )
    config = settings.for_method("closed-form").replace(normalisation="frozen")
    result = experiment.run(config, report=False)
    assert plan_run(config).ledger["front"]["downlink"] == result.ledger["front"]["downlink"]
    assert result.front is not None
    assert 6 * int(str(result.front["delivered_bytes"])) == result.ledger["front"]["downlink"]


@pytest.mark.parametrize("bits", [8, 32])
def test_fronts_that_stop_early_are_compressed_in_a_plan_too(bits: int) -> None:
    early = ["ecofed.device_cuts=block1:2,block2", f"ecofed.early_bits={bits}"]
    settings = Settings.load(None, [*TINY, *early, "front.precision=compact", "rounds=2"])
    config = settings.for_method("ecofed")
    result = experiment.run(config, report=False)
    assert plan_run(config).ledger["front"]["downlink"] == result.ledger["front"]["downlink"]


def test_devices_that_the_data_name_are_planned_as_they_run(tmp_path: Path) -> None:
    draw, counts = np.random.default_rng(0), {"ann": 3, "bob": 8, "cy": 2}
    for split, label, owner in itertools.product(("train", "test"), "ab", counts):
        (folder := tmp_path / split / label / owner).mkdir(parents=True)
        for number in range(counts[owner] if split == "train" else 2):
            Image.fromarray(draw.integers(0, 255, (28, 28), np.uint8)).save(folder / f"{number}.png")
    natural = [f"data.name={tmp_path}", "data.partition=column", "data.device_column=folder"]
    settings = Settings.load(None, [*TINY, *natural, "devices=3", "sampled_devices=2", "test_samples=4"])
    (row,) = plan(settings, ["ecofed"]).at_cut
    result = experiment.run(settings.for_method("ecofed"), report=False)
    assert [sum(counts) for counts in result.data.label_counts] == [6, 16, 4]
    assert row.total_uplink_bytes == result.totals.uplink_bytes
    assert row.total_seconds == pytest.approx(result.totals.simulated_seconds)


@pytest.mark.parametrize("name", ["cifar10", "fashion-mnist"])
def test_whose_images_are_is_read_where_classes_are_known_to_be_equal(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan of such a set needs no data otherwise; these images have three owners."""
    train = ImageSet(
        images_NHWC=np.zeros((9, 32, 32, 3), np.uint8), labels_N=np.arange(9) % 2, device_N=np.arange(9) // 4
    )
    dataset = SimpleNamespace(train=train, channels=3, classes=("a", "b"))
    monkeypatch.setattr("ecofed.planning.planner.load_dataset", lambda *_, **__: dataset)
    natural = [f"data.name={name}", "data.partition=column", "data.device_column=who"]
    (row,) = plan(Settings.load(None, [*TINY, *natural, "devices=3", "rounds=1"]), ["send-images"]).at_cut
    assert row.ledger["labels"]["uplink"] == 9


def test_a_network_that_cannot_be_delivered_is_a_note_as_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(None, [*TINY, "delivery=int8"])
    whole = plan(settings, ["classic-fl"]).at_cut[0]
    # 8 bits a weight, and some floats.
    assert 0.25 < whole.delivery_bytes / (whole.ledger["weights"]["uplink"] / 12) < 0.3

    def refused(*_: object, **__: object) -> int:
        raise ModelError("a Strange layer cannot be written as ONNX")

    monkeypatch.setattr("ecofed.planning.planner.delivered_bytes", refused)
    planned = plan(settings, ["classic-fl"])
    assert planned.notes == ["the trained network cannot be delivered (a Strange layer cannot be written as ONNX)"]
    assert planned.at_cut[0].delivery_bytes == planned.at_cut[0].delivery_seconds == 0


@pytest.mark.ci
def test_a_narrower_back_is_planned_at_every_cut() -> None:
    sets = ["model.name=vgg11", *TINY[1:], "model.width=0.5"]
    plain, narrow = (plan(Settings.load(None, [*sets, *own])) for own in ([], ["model.back_width=0.125"]))
    assert narrow.cuts == plain.cuts
    weights = {
        row.cut: (row.ledger["weights"]["uplink"], other.ledger["weights"]["uplink"])
        for row, other in zip(narrow.methods, plain.methods, strict=True)
        if row.method == "vanilla-dpfl"
    }
    assert all(own == other for own, other in weights.values())  # fronts, which are as wide as ever
    whole = [one.at_cut[0].ledger["weights"]["uplink"] for one in (narrow, plain)]
    assert whole[0] < whole[1] / 4
    assert weights["block8"][0] > 2 * whole[0]


def test_every_cut_is_planned_and_the_whole_network_once() -> None:
    result = plan(Settings.load(None, TINY))
    assert [row.method for row in result.at_cut] == ["classic-fl", "vanilla-dpfl", "lgl", "fedgkt", "ecofed"]
    assert result.cuts[0] == "block1"
    assert [row.cut for row in result.methods if row.method == "ecofed"] == ["block2", "block1"]
    assert sum(row.method == "classic-fl" for row in result.methods) == 1
    values = result.to_dict()
    assert values["methods"][0]["ledger"]["weights"]["uplink"] > 0


@pytest.mark.ci
def test_what_does_not_fit_a_device_is_said_and_ecofed_still_fits() -> None:
    # VGG11 in training, its message and the system need 1.02 GB; a Raspberry Pi 3 has 1.
    sets = ["clock.device=raspberry-pi-3,raspberry-pi-5", "rounds=2"]
    rows = {row.method: row for row in plan(Settings.load("paper-vgg11-cifar10", sets)).at_cut}
    assert rows["classic-fl"].does_not_fit == ("raspberry-pi-3",)
    assert rows["ecofed"].does_not_fit == ()
    assert rows["ecofed"].peak_device_bytes < rows["classic-fl"].peak_device_bytes
    # The paper's figures, docs/results-time.md.
    assert rows["classic-fl"].bytes_per_device_round == pytest.approx(275.5e6, rel=1e-3)
    assert rows["vanilla-dpfl"].bytes_per_device_round == pytest.approx(33.38e6, rel=1e-3)
    assert rows["ecofed"].bytes_per_device_round == pytest.approx(2.05e6, rel=1e-2)


def test_the_papers_setting_with_a_hundred_thousandth_of_the_bytes() -> None:
    """500 rounds, the front's delivery counted, and even without entropy coding (docs/results.md)."""
    settings = Settings.load("paper-vgg11-cifar10-thrifty", ["codec.entropy=none"])
    methods = ("classic-fl", "vanilla-dpfl", "ecofed")
    config = settings.for_method("ecofed")
    assert (config.rounds, config.front.delivery, config.front.name) == (500, "download", "auto")
    total = {method: whole_run(plan_run(settings.for_method(method))) for method in methods}
    assert total["classic-fl"] == pytest.approx(500 * 20 * 275.53e6, rel=1e-3)
    assert total["classic-fl"] > 100_000 * total["ecofed"]
    assert total["vanilla-dpfl"] > 10_000 * total["ecofed"]


def whole_run(row: MethodPlan) -> int:
    return row.total_uplink_bytes + row.total_downlink_bytes


def test_slow_links_ask_for_fewer_bits() -> None:
    fast = plan(Settings.load(None, [*TINY, "clock.link=wifi"]), ["ecofed"]).recommendation
    slow = plan(Settings.load(None, [*TINY, "clock.link=lora"]), ["ecofed"]).recommendation
    assert fast is not None
    assert slow is not None
    assert (fast.cut, slow.cut) == ("block2", "block2")
    assert fast.bits >= slow.bits
    assert (fast.refresh, fast.period) == ("period", 2)
    assert slow.changes == {"model.cut": "block2", "codec.bits": 2, "ecofed.refresh": "once"}
    assert "bottleneck" in slow.reasons[-1]


@pytest.mark.ci
def test_bottleneck_fronts_that_ship_are_recommended_the_smaller_ones_for_slow_links() -> None:
    fronts = {}
    for link in ("wifi", "lora"):
        sets = [f"clock.link={link}", "codec.entropy=none", "rounds=10"]
        result = plan(Settings.load("cpu-vgg11-cifar10-skewed", sets), ["ecofed"])
        assert result.recommendation is not None
        fronts[link] = result.recommendation.changes
        rerun = plan(Settings.load("cpu-vgg11-cifar10-skewed", [*sets, *words(result)]), ["ecofed"])
        assert rerun.at_cut[0].total_uplink_bytes <= result.at_cut[0].total_uplink_bytes
    assert fronts["wifi"]["front.name"] == "vgg11-w0.5-rgb-256b"
    assert fronts["lora"]["front.name"] == "vgg11-w0.5-rgb-64b"


def words(result: Plan) -> list[str]:
    assert result.recommendation is not None
    return [f"{key}={value}" for key, value in result.recommendation.changes.items()]


def test_a_front_that_the_user_names_is_kept() -> None:
    sets = ["front.name=vgg11-w0.5-rgb", "codec.entropy=none", "rounds=4", "clock.link=wifi"]
    best = plan(Settings.load("cpu-vgg11-cifar10-skewed", sets), ["ecofed"]).recommendation
    assert best is not None
    assert (best.front, best.bits, best.refresh, best.period) == (None, 4, "period", 2)


def test_a_front_for_two_bits_alone_is_recommended_with_two() -> None:
    sets = ["front.name=vgg11-w0.5-rgb-128b", "codec.entropy=none", "rounds=4", "clock.link=wifi"]
    best = plan(Settings.load("cpu-vgg11-cifar10-skewed", sets), ["ecofed"]).recommendation
    assert best is not None
    assert (best.front, best.bits, best.refresh) == (None, 2, "once")


def test_a_cut_that_a_methods_settings_do_not_suit_is_left_out_with_a_note() -> None:
    settings = Settings.load(
        None, ["data.name=cifar10", "model.name=vgg11", "model.width=0.5", "closed-form.features=128"]
    )
    made = plan(settings, ["closed-form", "ecofed"])
    cuts = {method: [row.cut for row in made.methods if row.method == method] for method in ("closed-form", "ecofed")}
    assert cuts["ecofed"] == [made.cut, *(cut for cut in made.cuts if cut != made.cut)]
    assert set(cuts["closed-form"]) < set(cuts["ecofed"])
    left_out = [cut for cut in made.cuts if cut not in cuts["closed-form"]]
    (note,) = [note for note in made.notes if note.startswith("closed-form is not planned after")]
    assert note.startswith(f"closed-form is not planned after {', '.join(left_out)} (closed-form.features = 128: ")
    deep = settings.with_set(model__cut=left_out[0])
    with pytest.raises(ConfigError, match=r"closed-form.features = 128: the activation has"):
        plan(deep, ["closed-form"])


def test_who_keeps_sums_keeps_no_replay_buffer() -> None:
    kept = {
        method: plan_run(Settings.load(None, [*TINY, f"method={method}"]).for_method(method)).replay_bytes
        for method in ("closed-form", "classic-fl", "send-images")
    }
    assert kept["closed-form"] == kept["classic-fl"] == 0 < kept["send-images"]


def test_mistakes_are_one_line() -> None:
    with pytest.raises(ConfigError, match="no profile 'moon'"):
        plan(Settings.load(None, [*TINY, "clock.link=moon"]))
    with pytest.raises(ModelError, match=r"cannot cut after 'head\.flatten'"):
        plan(Settings.load(None, [*TINY, "model.cut=head.flatten"]))


@pytest.mark.ci
@pytest.mark.parametrize("entropy", ["deflate"])
def test_entropy_coded_bytes_are_foreseen_within_five_percent(entropy: str) -> None:
    settings = Settings.load(None, [*TINY, f"codec.entropy={entropy}", "data.samples_per_device=100"])
    (row,) = plan(settings, ["ecofed"]).at_cut
    result = experiment.run(settings.for_method("ecofed"), report=False)
    assert row.total_uplink_bytes == pytest.approx(result.totals.uplink_bytes, rel=0.05)
    (plain,) = plan(Settings.load(None, [*TINY, "data.samples_per_device=100"]), ["ecofed"]).at_cut
    assert row.total_uplink_bytes < plain.total_uplink_bytes
    assert row.replay_bytes == plain.replay_bytes


def test_a_run_without_an_image_like_activation_has_no_clock() -> None:
    config = Settings.load(None, [*TINY, "method=classic-fl", "model.cut=head.flatten", "rounds=1"]).for_method(
        "classic-fl"
    )
    result = experiment.run(config, report=False)
    assert result.totals.simulated_seconds is None
    assert result.rounds[0].timeline is None


@pytest.mark.parametrize(
    ("sets", "chunk"),
    [
        (("codec.name=minmax", "codec.bits=8"), 10),  # a scale for each batch
        (("normalisation=batch",), 10),  # statistics of each batch
        (("codec.bits=4",), 100),
        (("codec.bits=4", "data.samples_per_device=30"), 30),
        (
            ("codec.name=minmax", "codec.bits=8", "ecofed.device_cuts=block1"),
            100,
        ),  # early codecs have constant limits
    ],
    ids=str,
)
def test_memory_is_that_of_the_images_that_a_device_runs_at_once(sets: tuple[str, ...], chunk: int) -> None:
    config = Settings.load(None, [*QUARTER, *sets]).for_method("ecofed")
    network = counted_network(config, 3, 10)
    cuts = [config.ecofed.device_cuts] if config.ecofed.device_cuts else []
    bundle = stand_in_bundle(config, network, "block2", 3)
    work = build_workload(config, network, "block2", in_channels=3, classes=10, bundle=bundle, device_cuts=cuts)
    samples = config.data.samples_per_device or 230
    steps = list(EcoFed.visit(config, work, Stop(samples=samples)))
    message = max(sum(size.values()) for step in steps for size in (step.request_bytes, step.reply_bytes))
    front = work.frozen_front if work.early[0] is None else work.early[0].front
    need = device_memory(steps, config.batch_size)
    assert need == front.state_bytes + chunk * front.live_bytes + message


def test_the_memory_of_devices_that_run_batches_in_figures() -> None:
    sets = ["batch_size=20", "normalisation=batch", "codec.bits=4"]
    config = Settings.load(None, [*QUARTER, *sets]).for_method("ecofed")
    network = counted_network(config, 3, 10)
    bundle = stand_in_bundle(config, network, "block2", 3)
    work = build_workload(config, network, "block2", in_channels=3, classes=10, bundle=bundle)
    need = device_memory(list(EcoFed.visit(config, work, Stop(samples=230))), config.batch_size)
    assert need == pytest.approx(2.9e6, rel=0.01)  # 13.4 MB if a hundred images ran at once


@pytest.mark.parametrize(
    ("images", "seconds_a_byte", "expected"),
    [
        (1000, 0.0, {"model.cut": "block6"}),
        (50, 0.0, {"model.cut": "block6", "front.delivery": "preinstalled"}),
        (1000, 1e-6, {"model.cut": "block6", "front.bytes_per_image": 320}),
    ],
)
def test_codes_of_a_backbone_stay_what_they_are_and_its_front_may_outweigh_them(
    images: int, seconds_a_byte: float, expected: dict[str, object]
) -> None:
    settings = Settings.load("photos", ["data.name=digits"])
    link, machine = load_link("4g"), load_device("raspberry-pi-4")

    def planned(config: Config, _cut: str, fleet: Fleet) -> Any:
        sent = images * config.front.bytes_per_image
        slow = 0.0 if math.isinf(fleet.links[0].uplink_bits_per_second) else sent * seconds_a_byte
        return SimpleNamespace(
            does_not_fit=(),
            seconds_per_round=0.4 + slow,
            total_uplink_bytes=sent,
            ledger={"front": {"downlink": 143_000}},
        )

    fleet = Fleet(devices=[machine], links=[link], server=machine)
    best = recommend(settings.for_method("ecofed"), fleet, "block6", {"block6": 0.3}, planned)
    assert best.changes == expected
    assert best.reasons[1].startswith(f"{expected.get('front.bytes_per_image', 512)} B an image: links take ")
    assert len(best.reasons) == 2 + best.preinstalled


def test_what_an_audit_found_stands_in_the_row_of_that_front_and_cut_only() -> None:
    small = ["data.samples_per_device=20", "devices=2", "sampled_devices=1", "rounds=1"]
    settings = Settings.load("cpu-vgg11-cifar10", [*small, "front.name=vgg11-w0.5-rgb-256b", "codec.bits=2"])
    planned = plan(settings, ["lgl", "ecofed"])
    known = audited_front("vgg11-w0.5-rgb-256b", 2)
    assert known is not None
    leaks = {(row.method, row.cut): row.leakage_ssim for row in planned.methods}
    assert leaks.pop(("ecofed", planned.cut)) == known.ssim
    assert set(leaks.values()) == {None}
    assert f"ecofed: {known}" in planned.notes
