"""Rounds worked out by hand: one layer of 1 GFLOP a sample, machines of 1 GFLOP/s, links of 1 MB/s."""

from __future__ import annotations

import dataclasses

import pytest

from ecofed.config.schema import Config
from ecofed.costs.clock import Clock, RoundTime
from ecofed.costs.exchange import Exchange
from ecofed.costs.profiles import Link, Machine
from ecofed.costs.rounds import Fleet
from ecofed.costs.steps import Work
from ecofed.costs.workload import Layer, Segment, Workload
from ecofed.methods import METHOD_CLASSES

MACHINE = Machine(
    name="one",
    title="one",
    inference_flops_per_second=1e9,
    training_flops_per_second=1e9,
    memory_bytes_per_second=1e18,
    call_overhead_seconds=0.0,
    memory_bytes=10**9,
    runtime_bytes=0,
    idle_watts=1.0,
    busy_watts=3.0,
)
LINK = Link(name="slow", title="slow", uplink_bits_per_second=8e6, downlink_bits_per_second=8e6, latency_seconds=0.5)
MB = 1_000_000


def segment(*, at_input: bool) -> Segment:
    """1 GFLOP forward; training twice that where the input needs no gradient, otherwise three times."""
    layer = Layer(
        name="l",
        flops=10**9,
        parameters=1,
        input_entries=0,
        output_entries=0,
        saved_bytes=0,
        at_input=at_input,
    )
    return Segment(layers=(layer,), live_bytes=0)


WORK = Workload(
    whole=segment(at_input=True),
    front=segment(at_input=True),
    back=segment(at_input=True),
    auxiliary=Segment(layers=(), live_bytes=0),
    frozen_front=segment(at_input=True),
    activation_shape=(1, 1, 1),
    upload_shape=(1, 1, 1),
    bundle_bytes=0,
    row_bytes=1,
    scaled_batches=False,
    classes=2,
)


def exchange(request: str, down: int, up: int, *, device: int = 0, weights: int = 0) -> Exchange:
    uplink = {"activations": up, "weights": weights}
    return Exchange(device=device, request=request, reply="", downlink={"weights": down}, uplink=uplink)


def run(
    method: str, exchanges: list[Exchange], steps: int = 0, fleet: Fleet | None = None, **settings: object
) -> RoundTime:
    config = Config().replace(method=method, batch_size=1, **settings)
    fleet = fleet or Fleet(devices=[MACHINE], links=[LINK], server=MACHINE)
    return Clock(METHOD_CLASSES[method], config, WORK, [2, 2, 2], fleet).round(exchanges, steps)


def test_classic_fl_downloads_trains_uploads_and_the_slowest_counts() -> None:
    # 1 s down + latency, 2 samples x 2 GFLOP, 3 s up + latency.
    time = run("classic-fl", [exchange("TrainWhole", MB, 0, weights=3 * MB)])
    assert time.seconds == pytest.approx(1.5 + 4 + 3.5)
    assert time.joules == pytest.approx(3.0 * 4 + 1.0 * 5)
    slow = dataclasses.replace(MACHINE, name="slow", training_flops_per_second=1e8)
    fleet = Fleet(devices=[MACHINE, slow], links=[LINK], server=MACHINE)
    both = [exchange("TrainWhole", MB, 0, weights=3 * MB, device=device) for device in (0, 1)]
    assert run("classic-fl", both, fleet=fleet).seconds == pytest.approx(1.5 + 40 + 3.5)


def test_each_direction_has_a_speed_of_its_own() -> None:
    fast_down = dataclasses.replace(LINK, downlink_bits_per_second=8e7)
    fleet = Fleet(devices=[MACHINE], links=[fast_down], server=MACHINE)
    time = run("classic-fl", [exchange("TrainWhole", MB, 0, weights=3 * MB)], fleet=fleet)
    assert time.seconds == pytest.approx(0.1 + 0.5 + 4 + 3 + 0.5)


def test_a_sample_is_prepared_once_where_it_becomes_an_input() -> None:
    careful = dataclasses.replace(MACHINE, sample_overhead_seconds=0.25)
    fleet = Fleet(devices=[careful], links=[LINK], server=MACHINE)
    time = run("classic-fl", [exchange("TrainWhole", MB, 0, weights=3 * MB)], fleet=fleet)
    assert time.seconds == pytest.approx(1.5 + 4 + 2 * 0.25 + 3.5)
    exchanges = [exchange("StartSplit", 0, MB), exchange("ApplyGradient", MB, MB), exchange("ApplyGradient", MB, 0)]
    assert run("vanilla-dpfl", exchanges, fleet=fleet).seconds == pytest.approx(17 + 2 * 0.25)


def test_a_slow_device_computes_sends_and_waits_longer() -> None:
    """Latency too: all of its nine seconds."""
    slow = {"availability__slow_share": 1.0, "availability__slow_factor": 3.0}
    config = Config().replace(method="classic-fl", batch_size=1, **slow)
    fleet = Fleet(devices=[MACHINE], links=[LINK], server=MACHINE)
    clock = Clock(METHOD_CLASSES["classic-fl"], config, WORK, [2, 2, 2], fleet)
    visit = [exchange("TrainWhole", MB, 0, weights=3 * MB)]
    assert clock.round(visit, round_=1).seconds == pytest.approx(3 * 9)
    assert clock.round(visit).seconds == pytest.approx(9)


def test_operations_of_a_part_by_what_is_done_with_it() -> None:
    part = segment(at_input=False)
    flops = {what: Work(what, (part, part), [2, 3]).flops / 1e9 for what in ("infer", "forward", "backward", "train")}  # type: ignore[arg-type]
    assert flops == {"infer": 10, "forward": 10, "backward": 20, "train": 30}


@pytest.mark.parametrize(("deadline", "late"), [(8.9, True), (9.1, False), (None, False)])
def test_a_visit_of_nine_seconds_is_too_late_for_a_shorter_deadline(deadline: float | None, late: bool) -> None:
    config = Config().replace(method="classic-fl", batch_size=1, availability__deadline_seconds=deadline)
    fleet = Fleet(devices=[MACHINE], links=[LINK], server=MACHINE)
    clock = Clock(METHOD_CLASSES["classic-fl"], config, WORK, [2, 2, 2], fleet)
    told = clock.too_late([exchange("TrainWhole", MB, 0, weights=3 * MB)], 1)
    assert told == ("would have taken 9 s, longer than availability.deadline_seconds = 8.9" if late else "")


def test_vanilla_alternates_batch_by_batch() -> None:
    exchanges = [exchange("StartSplit", 0, MB), exchange("ApplyGradient", MB, MB), exchange("ApplyGradient", MB, 0)]
    # Twice: forward 1, up 1.5, server 3 (input gradient too), down 1.5, backward 1; a latency before and after.
    time = run("vanilla-dpfl", exchanges)
    assert time.seconds == pytest.approx(0.5 + 2 * (1 + 1.5 + 3 + 1.5 + 1) + 0.5)
    assert time.server_seconds == pytest.approx(6)
    two = exchanges + [dataclasses.replace(one, device=1) for one in exchanges]
    in_turn = run("vanilla-dpfl", two, vanilla_dpfl__version="v2")
    assert in_turn.seconds == pytest.approx(2 * time.seconds)
    assert time.seconds < run("vanilla-dpfl", two).seconds < in_turn.seconds


@pytest.mark.parametrize(("overlap", "seconds"), [(True, 0.5 + 2 + 2 + 1 + 0.5 + 2), (False, 0.5 + 4 + 2.5 + 4)])
def test_lgl_sends_while_it_trains(overlap: bool, seconds: float) -> None:
    # Each of two batches: 2 s training, 1 s upload, 2 s on the server.
    fleet = Fleet(devices=[MACHINE], links=[LINK], server=MACHINE, overlap=overlap)
    assert run("lgl", [exchange("TrainLocally", 0, 2 * MB)], fleet=fleet).seconds == pytest.approx(seconds)


def test_fedgkt_ends_when_the_servers_logits_have_arrived() -> None:
    exchanges = [exchange("TrainDistilled", 0, 2 * MB), exchange("ServerLogits", MB, 0)]
    # Epoch 4; then 1 s inference, 1 s upload and latency a batch; server 2 s each; logits down, receipt up.
    assert run("fedgkt", exchanges).seconds == pytest.approx(0.5 + 4 + 1 + 1.5 + 2 + 2 + 1.5 + 0.5)


def test_ecofed_waits_for_all_uploads_and_a_replay_round_is_the_servers_alone() -> None:
    uploads = [exchange("Refresh", 0, 2 * MB, device=device) for device in (0, 1)]
    # Both samples pass the front as one chunk: 2 s, then 2 s upload.
    refresh = run("ecofed", uploads, steps=5)
    assert refresh.seconds == pytest.approx(0.5 + 2 + 2.5 + 5 * 2)
    assert refresh.device_seconds == {0: pytest.approx(2), 1: pytest.approx(2)}
    replay = run("ecofed", [], steps=5)
    assert replay.seconds == replay.server_seconds == pytest.approx(10)
    assert replay.joules == 0


def test_a_front_is_delivered_before_the_first_upload() -> None:
    first = run("ecofed", [exchange("InstallFront", 3 * MB, 0), exchange("Refresh", 0, 2 * MB)])
    assert first.seconds == pytest.approx(3.5 + 0.5 + 0.5 + 2 + 2.5)


def test_loss_is_sent_again() -> None:
    lossy = dataclasses.replace(LINK, loss=0.5)
    fleet = Fleet(devices=[MACHINE], links=[lossy], server=MACHINE)
    time = run("classic-fl", [exchange("TrainWhole", MB, 0, weights=3 * MB)], fleet=fleet)
    assert time.seconds == pytest.approx(2.5 + 4 + 6.5)


def test_no_energy_without_power_figures() -> None:
    fleet = Fleet(devices=[dataclasses.replace(MACHINE, busy_watts=None)], links=[LINK], server=MACHINE)
    assert run("classic-fl", [exchange("TrainWhole", MB, 0, weights=MB)], fleet=fleet).joules is None


def test_a_timeline_shows_server_and_first_devices() -> None:
    rows = run("ecofed", [exchange("Refresh", 0, 2 * MB, device=device) for device in (0, 1, 2)], steps=1).timeline(2)
    assert {row[0] for row in rows} == {"0", "1", "server"}
    assert ["server", "train", 5.0, 7.0] in rows


def test_rivals_send_images_or_sums_once() -> None:
    images = run("send-images", [exchange("SendImages", 0, 2 * MB)], steps=3)
    assert images.seconds == pytest.approx(0.5 + 2.5 + 3 * 2)  # the whole network trains on the server
    sums = run("closed-form", [exchange("InstallFront", MB, 0), exchange("AskStatistics", 0, MB)])
    assert sums.seconds == pytest.approx(1.5 + 0.5 + 0.5 + 2 + 1.5)
