"""Small real runs: scikit-learn's digits, a narrow LeNet or VGG11, four devices."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ecofed.config import Config, Settings
from ecofed.costs.ledger import Ledger
from ecofed.methods import METHOD_CLASSES, Channel, Context, Method
from ecofed.results import RunResult
from ecofed.runs.experiment import run
from ecofed.runs.preparation import Prepared
from ecofed.runtimes import InProcessTransport
from plain import PLAIN
from prepared import prepared_for
from stopping import StopAfter

BASE = {
    "data.name": "digits",
    "data.samples_per_device": 20,
    "data.partition": "shards",
    "data.shards_per_device": 3,
    "model.name": "lenet",
    "model.width": 0.5,
    "devices": 4,
    "sampled_devices": 2,
    "batch_size": 8,
    "rounds": 3,
    "test_samples": 60,
    "front.name": "random",
    **PLAIN,
}


def tiny_config(method: str, **changes: Any) -> Config:
    """Dotted keys with ``__``: ``tiny_config("ecofed", codec__bits=8)``."""
    return _base(method).replace(**changes) if changes else _base(method)


@cache
def _base(method: str) -> Config:
    return Settings.load(None, [f"{key}={value}" for key, value in BASE.items()]).for_method(method)


def started(config: Config) -> tuple[Method, Prepared]:
    """A method that has not run yet, with in-process devices."""
    prepared = prepared_for(config)
    context = Context(
        task=prepared.task,
        channel=Channel(InProcessTransport(prepared.worker), Ledger()),
        model=prepared.model,
        halves=prepared.halves,
        bundle=prepared.bundle,
        early=prepared.early,
        torch_device=prepared.torch_device,
    )
    return METHOD_CLASSES[config.method](context), prepared


def outcome(result: RunResult) -> dict[str, Any]:
    """What must not depend on the runtime, a resume or the clock on the wall."""
    timeless = ("device_seconds", "server_seconds")
    rounds = [
        {key: value for key, value in record.to_dict().items() if key not in timeless} for record in result.rounds
    ]
    return {"rounds": rounds, "ledger": result.ledger, "accuracy": result.totals.final_test_accuracy}


def weights(folder: Any, method: str) -> dict[str, np.ndarray]:
    """The trained network's arrays in a run's folder; a method without a network must not have left a file."""
    from safetensors.numpy import load_file

    path = folder / "model.safetensors"
    if not METHOD_CLASSES[method].has_network:
        assert not path.exists()
        return {}
    return load_file(path)


def assert_same_weights(one: Path, other: Path, method: str) -> None:
    """Both folders hold the same network, name for name and bit for bit."""
    first, second = weights(one, method), weights(other, method)
    assert first.keys() == second.keys()
    assert bool(first) is METHOD_CLASSES[method].has_network
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


__all__ = ["StopAfter", "assert_same_weights", "outcome", "run", "started", "tiny_config", "weights"]
