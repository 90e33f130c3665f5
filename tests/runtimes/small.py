"""A small real set-up for tests of runtimes: 48 pictures in folders, four devices, a narrow LeNet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ecofed.config import Config, Settings
from ecofed.costs.ledger import Ledger
from ecofed.methods import METHOD_CLASSES, Channel, Context, Method, Transport
from ecofed.results import RunResult
from ecofed.runs.preparation import Prepared
from plain import PLAIN
from prepared import prepared_for

CLASSES = 4
BASE = {
    "model.name": "lenet",
    "model.width": 0.5,
    "devices": 4,
    "sampled_devices": 3,
    "batch_size": 4,
    "rounds": 3,
    "test_samples": 16,
    "front.name": "random",
    "quorum": 1,
    "deadline_seconds": 120,
    **PLAIN,
}


def write_pictures(folder: Path) -> Path:
    """Noisy squares, whose corner is the class."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for label in range(CLASSES):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 90, (32, 32), dtype=np.uint8)
                y, x = divmod(label, 2)
                pixels[16 * y : 16 * y + 16, 16 * x : 16 * x + 16] += 120
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def small_config(pictures: Path, method: str = "ecofed", **changes: Any) -> Config:
    """Dotted keys with ``__``."""
    return _base(pictures, method).replace(**changes)


@cache
def _base(pictures: Path, method: str) -> Config:
    sets = [f"{key}={value}" for key, value in (BASE | {"data.name": pictures}).items()]
    return Settings.load(None, sets).for_method(method)


def outcome(result: RunResult) -> dict[str, Any]:
    """What must not depend on the runtime, on faults that were overcome, or on a resume."""
    leave_out = ("device_seconds", "server_seconds", "notes")
    rounds = [
        {key: value for key, value in record.to_dict().items() if key not in leave_out} for record in result.rounds
    ]
    return {"rounds": rounds, "ledger": result.ledger, "accuracy": result.totals.final_test_accuracy}


def notes(result: RunResult) -> str:
    return "\n".join(f"round {record.round}: {note}" for record in result.rounds for note in record.notes)


@contextmanager
def method_over(transport: Transport, prepared: Prepared) -> Iterator[Method]:
    """A method that has not run yet."""
    config = prepared.task.config
    channel = Channel(transport, Ledger(), quorum=config.quorum, deadline_seconds=config.deadline_seconds)
    context = Context(
        task=prepared.task,
        channel=channel,
        model=prepared.model,
        halves=prepared.halves,
        bundle=prepared.bundle,
        early=prepared.early,
        torch_device=prepared.torch_device,
    )
    try:
        yield METHOD_CLASSES[config.method](context)
    finally:
        transport.close()


__all__ = ["CLASSES", "method_over", "notes", "outcome", "prepared_for", "small_config", "write_pictures"]
