"""classic-fl's remedies against skewed labels: a decaying rate, and optimisers on the server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import StopAfter, assert_same_weights, outcome, run, started, tiny_config

from ecofed.config.methods import ClassicFLConfig
from ecofed.methods.classic_fl import ServerOptimiser
from ecofed.models import state_arrays
from ecofed.wire import TrainWhole, decode, encode


def arrays(*values: float) -> dict[str, np.ndarray]:
    return {"w": np.array(values, np.float32)}


def test_an_average_takes_the_networks_place() -> None:
    server = ServerOptimiser(ClassicFLConfig())
    assert server.step(arrays(1, 2), arrays(3, 5))["w"].tolist() == [3, 5]


def test_momentum_keeps_what_earlier_rounds_changed() -> None:
    server = ServerOptimiser(ClassicFLConfig(server="momentum", server_momentum=0.5, server_learning_rate=2.0))
    once = server.step(arrays(1.0), arrays(1.5))  # change 0.5, velocity 0.5
    assert once["w"] == pytest.approx([2.0])
    again = server.step(once, arrays(2.25))  # change 0.25, velocity 0.5 * 0.5 + 0.25
    assert again["w"] == pytest.approx([3.0])


def test_adam_steps_are_scaled_by_how_much_a_weight_changes() -> None:
    server = ServerOptimiser(ClassicFLConfig(server="adam", server_learning_rate=0.1))
    after = server.step(arrays(0.0, 0.0), arrays(1.0, 0.01))["w"]
    # beta 1 = 0.9, beta 2 = 0.99, tau = 0.001: 0.1 * 0.1 * d / (0.1 * |d| + 0.001)
    assert after == pytest.approx([0.1 * 0.1 / 0.101, 0.1 * 0.001 / 0.002], rel=1e-5)


@pytest.mark.parametrize(("round_", "share"), [(1, 1.0), (3, 0.5), (4, 0.1464466)])
def test_the_devices_rate_follows_the_cosine(round_: int, share: float) -> None:
    """In round 3 of 4 a device trains with half of the rate."""
    settings = {"normalisation": "batch", "initialisation": "random", "rounds": 4, "data__augment": False}
    decaying, prepared = started(tiny_config("classic-fl", classic_fl__schedule="cosine", **settings))
    request = TrainWhole(round=round_, weights=state_arrays(decaying.model))
    weights = decode(prepared.worker(1).handle(encode(request).data))[0].weights
    _, prepared = started(tiny_config("classic-fl", learning_rate=0.01 * share, **settings))
    for name, array in decode(prepared.worker(1).handle(encode(request).data))[0].weights.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-5, atol=1e-7)


@pytest.mark.ci
@pytest.mark.parametrize("server", ["momentum", "adam"])
def test_a_resumed_run_continues_the_servers_moments(tmp_path: Path, server: str) -> None:
    config = tiny_config("classic-fl", classic_fl__server=server, classic_fl__server_learning_rate=0.1)
    whole = run(config, out=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "cut", observer=StopAfter(2))
    resumed = run(config, out=tmp_path / "cut", resume=True)
    assert outcome(resumed) == outcome(whole)
    assert_same_weights(tmp_path / "cut", tmp_path / "whole", "classic-fl")
