"""Several devices' networks trained at the same time: the results are those of one after the other, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same_weights, outcome, run, started, tiny_config

from ecofed.devices.methods.classic_fl import WholeTrainer
from ecofed.errors import DeviceError
from ecofed.machine import CORES, cores, free_bytes
from ecofed.methods import METHOD_CLASSES
from ecofed.methods.at_once import in_order
from ecofed.methods.channel import Channel
from ecofed.methods.refusals import DivergedError
from ecofed.runs import at_once
from ecofed.runs.at_once import networks_at_once

PAPER = {"ecofed__server": "fedavg", "normalisation": "batch", "codec__name": "minmax", "codec__bits": 8}
CASES: list[Any] = [
    ("classic-fl", {}),
    ("lgl", {}),
    ("fedgkt", {}),
    ("vanilla-dpfl", {}),
    ("vanilla-dpfl", {"vanilla_dpfl__version": "v2"}),
    pytest.param("vanilla-dpfl", {"runtime": "processes"}, marks=pytest.mark.ci),
    ("ecofed", {}),
    ("ecofed", PAPER),
]


@pytest.mark.parametrize(("method", "changes"), CASES)
def test_results_are_those_of_one_core(
    method: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(method, sampled_devices=4, rounds=2, **changes)
    results = []
    for count in ("1", "3"):
        monkeypatch.setenv(CORES, count)
        results.append(run(config, out=tmp_path / count, report=False))
    assert outcome(results[0]) == outcome(results[1])
    assert_same_weights(tmp_path / "1", tmp_path / "3", method)


@pytest.mark.parametrize(("count", "names"), [("1", {"MainThread"}), ("2", {"ecofed-at-once"})])
def test_devices_train_in_threads_where_there_are_cores(
    count: str, names: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def noted(self: WholeTrainer, request: Any) -> Any:
        seen.add(threading.current_thread().name.rpartition("_")[0] or threading.current_thread().name)
        return train_whole(self, request)

    train_whole = WholeTrainer.train_whole
    monkeypatch.setattr(WholeTrainer, "train_whole", noted)
    monkeypatch.setenv(CORES, count)
    run(tiny_config("classic-fl", rounds=1), report=False)
    assert seen == names


@pytest.mark.parametrize("method", ["lgl", "fedgkt"])
def test_whose_training_diverges_is_left_out_alone(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where one is trained after the other: with a note, and without a trace in the averages."""
    _diverging(METHOD_CLASSES[method], monkeypatch, device=1)
    results = []
    for count in ("1", "2"):
        monkeypatch.setenv(CORES, count)
        results.append(run(tiny_config(method, sampled_devices=4, rounds=1), out=tmp_path / count, report=False))
        assert results[-1].rounds[0].notes == ["device 1: too large; left out of this round"]
    assert outcome(results[0]) == outcome(results[1])
    assert_same_weights(tmp_path / "1", tmp_path / "2", method)


@pytest.mark.parametrize(("version", "threads"), [("v1", 2), ("v2", 1)])
def test_server_and_devices_talk_about_batches_at_the_same_time_where_each_has_a_back_of_its_own(
    version: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is lost in the middle is left out alone; bytes, clock and notes are those of one after the other."""
    ask, results = Channel.ask, []
    seen: list[set[int]] = []

    def asked(self: Channel, device: int, *message: Any) -> Any:
        seen[-1].add(threading.get_ident())
        reply = ask(self, device, *message)
        if device == 1:
            raise DeviceError("enough")
        return reply

    monkeypatch.setattr(Channel, "ask", asked)
    for count in ("1", "2"):
        monkeypatch.setenv(CORES, count)
        seen.append(set())
        config = tiny_config("vanilla-dpfl", sampled_devices=4, rounds=1, vanilla_dpfl__version=version)
        results.append(run(config, report=False))
        assert results[-1].rounds[0].notes == ["device 1: enough; left out of this round"]
    assert outcome(results[0]) == outcome(results[1])
    assert [len(each) for each in seen] == [1, threads]


def _diverging(program: Any, monkeypatch: pytest.MonkeyPatch, *, device: int) -> None:
    """While the back is trained on what this device sent."""
    checked, train_back = program._checked, program._train_back

    def marked(self: Any, number: int, replies: Any) -> Any:
        reply, samples = checked(self, number, replies)
        return reply, -samples if number == device else samples

    def trained(self: Any, reply: Any, samples: int) -> Any:
        if samples < 0:
            raise DivergedError("too large")
        return train_back(self, reply, samples)

    monkeypatch.setattr(program, "_checked", marked)
    monkeypatch.setattr(program, "_train_back", trained)


def test_work_is_done_at_the_same_time_and_told_in_order() -> None:
    met, drawn = threading.Barrier(2), []

    def items() -> Iterator[int]:
        for number in range(6):
            drawn.append(number)
            yield number

    def work(number: int) -> tuple[int, int]:
        met.wait(10)  # nobody passes alone
        return number, torch.get_num_threads()

    before = torch.get_num_threads()
    results = in_order(work, items(), 2)
    assert next(results) == (0, before)
    assert drawn == [0, 1, 2]
    assert list(results) == [(number, before) for number in range(1, 6)]


def test_an_error_comes_in_its_place_and_ends_the_work() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise DeviceError("the second")
        return number

    results = in_order(work, range(100), 2)
    assert next(results) == 0
    with pytest.raises(DeviceError, match="the second"):
        list(results)
    assert len(begun) < 10


def test_as_many_as_cores_devices_and_memory_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    _, prepared = started(tiny_config("classic-fl", sampled_devices=3))
    for asked, threads, expected in (("2", 1, 2), ("8", 1, 3), ("8", 4, 2), ("1", 4, 1)):
        monkeypatch.setenv(CORES, asked)
        _, prepared = started(tiny_config("classic-fl", sampled_devices=3, threads=threads))
        assert networks_at_once(prepared) == expected
    torch.set_num_threads(1)
    network = sum(value.nbytes for value in prepared.model.state_dict().values())
    monkeypatch.setenv(CORES, "8")
    for free, expected in ((0, 1), (33 * network, 2), (None, 2)):
        monkeypatch.setattr(at_once, "free_bytes", lambda free=free: free)
        assert networks_at_once(prepared) == expected


def test_networks_that_draw_random_numbers_are_trained_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, "2")
    _, prepared = started(tiny_config("classic-fl"))
    assert networks_at_once(prepared) == 2
    state = torch.get_rng_state()
    drawing = replace(prepared, model=torch.nn.Sequential(prepared.model, torch.nn.Dropout(0.5)))
    assert networks_at_once(drawing) == 1
    assert torch.equal(state, torch.get_rng_state())


def test_cores_are_those_asked_for_or_all_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CORES, raising=False)
    there = cores()
    assert there >= 1
    for asked, found in (("3", 3), ("0", there), ("many", there)):
        monkeypatch.setenv(CORES, asked)
        assert cores() == found
    free = free_bytes()
    assert free is None or free > 1 << 20
