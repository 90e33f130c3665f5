"""Settings for every test: the same examples each time, no time limit on one (machines are shared), and a Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from ecofed.machine import cores

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

# Tests run side by side, a process a core and one more: more threads in each would only get in the way.
os.environ["OMP_NUM_THREADS"] = "1"

settings.register_profile("ecofed", deadline=None, derandomize=True, database=None)
settings.load_profile("ecofed")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so every process that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With ``-n auto``: one more than cores, for while a test waits for a process or a socket."""
    return cores() + 1


def _a_dot(_: Any) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0], [0], ".")
    return figure


@pytest.fixture(autouse=True)
def plain_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing a report takes longer than a small run: tests marked ``plots`` draw all of it, the others a dot."""
    from ecofed.reports import plots

    if request.node.get_closest_marker("plots") is None:
        name, (title, _) = next(iter(plots.DRAWERS.items()))
        monkeypatch.setattr(plots, "DRAWERS", {name: (title, _a_dot)})


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_disks() -> Iterator[None]:
    """A machine that loses its power is no part of any test; tests of full disks have an ``fsync`` of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def known_activations() -> Iterator[None]:
    """Every run begins with its front's activations of the same public images, which takes half of a small run.

    They are a function of the front's numbers and the images, so each is worked out once.
    """
    from ecofed.runs import preparation

    known: dict[bytes, Tensor] = {}

    def remembered(front: nn.Module, x_NCHW: Tensor) -> Tensor:
        key = blake2b(f"{front} {getattr(front, 'code', '')} {x_NCHW.shape} {x_NCHW.stride()}".encode())
        for tensor in (x_NCHW, *front.state_dict().values()):
            key.update(tensor.contiguous().numpy().tobytes())
        if key.digest() not in known:
            if len(known) > 15:
                known.pop(next(iter(known)))
            known[key.digest()] = worked_out(front, x_NCHW)
        front.eval()
        return known[key.digest()].clone()

    worked_out = preparation.public_activations
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "public_activations", remembered)
        yield
