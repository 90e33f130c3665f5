"""Server and devices in network namespaces, over links that are slow, lossy, and cut in mid-upload."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from small import notes, outcome, prepared_for, small_config

from ecofed.config.schema import Config
from ecofed.costs.profiles import Link
from ecofed.results import RoundRecord
from ecofed.runs.experiment import run
from ecofed.runs.observing import SilentObserver
from ecofed.runtimes import ProcessesTransport
from ecofed.runtimes.device_process import Device

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from slow_wire import SERVER, SlowNetwork, why_not

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

SLOW = Link(
    name="slow",
    title="a slow link",
    uplink_bits_per_second=2e6,
    downlink_bits_per_second=8e6,
    latency_seconds=0.01,
    loss=0.02,
)


@contextmanager
def far_away(config: Config, network: SlowNetwork) -> Iterator[ProcessesTransport]:
    """The processes runtime's server in its namespace, devices in threads, each in its own."""
    with network.inside(SERVER):
        transport = ProcessesTransport(prepared_for(config).task, address=("0.0.0.0", 0), start_devices=False)

    def serve(number: int) -> None:
        host = network.address_of_server(number)
        with network.inside(f"device-{number}"):
            Device(dataclasses.replace(transport.installation, host=host, patience_seconds=5.0), number).serve()

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(config.devices)]
    for thread in threads:
        thread.start()
    try:
        yield transport
    finally:
        transport.close()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()


def uploading(pictures: Path, **changes: Any) -> Config:
    """Uploads of some 50 KB in every round."""
    return small_config(
        pictures,
        **{
            "rounds": 3,
            "sampled_devices": 4,
            "ecofed__refresh": "period",
            "ecofed__period": 1,
            "codec__name": "float32",
            "codec__entropy": "none",
            **changes,
        },
    )


@pytest.mark.slow
def test_a_slow_and_lossy_link_changes_only_the_time(pictures: Path) -> None:
    config = uploading(pictures, rounds=2)
    expected = run(config)
    with SlowNetwork([SLOW] * config.devices) as network, far_away(config, network) as transport:
        result = run(config, connect=lambda _: transport)
    assert outcome(result) == outcome(expected)
    assert notes(result) == ""
    for slow, fast in zip(result.rounds, expected.rounds, strict=True):
        upload_seconds = 8 * fast.uplink_bytes / config.devices / SLOW.uplink_bits_per_second
        assert slow.device_seconds > upload_seconds + 2 * SLOW.latency_seconds


class When(SilentObserver):
    """Does something after a round."""

    def __init__(self, round_: int, action: Callable[[], None]) -> None:
        self._round, self._action = round_, action

    def round_finished(self, record: RoundRecord, total_rounds: int) -> None:  # noqa: ARG002
        if record.round == self._round:
            self._action()


@pytest.mark.slow
def test_a_cut_in_mid_upload_costs_only_that_device(pictures: Path) -> None:
    config = uploading(pictures, quorum=0.5, deadline_seconds=4.0, rounds=2)
    with SlowNetwork([SLOW] * config.devices) as network, far_away(config, network) as transport:
        started = time.monotonic()
        result = run(config, connect=lambda _: transport, observer=When(1, lambda: network.cut(2, after_bytes=8000)))
        assert time.monotonic() - started < 60
    assert result.rounds[0].notes == []
    assert result.rounds[1].notes == ["device 2: no answer before the round's deadline; left out of this round"]
    whole = run(config.replace(quorum=1, deadline_seconds=60))
    assert 0.6 * whole.rounds[1].uplink_bytes < result.rounds[1].uplink_bytes < 0.9 * whole.rounds[1].uplink_bytes


@pytest.mark.slow
def test_a_device_comes_back_when_its_link_is_mended(pictures: Path) -> None:
    config = uploading(pictures, quorum=0.5, deadline_seconds=6.0, rounds=4)
    with SlowNetwork([SLOW] * config.devices) as network, far_away(config, network) as transport:
        network.cut(1, after_bytes=8000)
        result = run(config, connect=lambda _: transport, observer=When(1, lambda: network.mend(1)))
    assert any("device 1" in note for note in result.rounds[0].notes)
    assert result.rounds[-1].notes == []
