"""The split is real: what a device holds, and what crosses the boundary."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from small import prepared_for, small_config
from torch import nn

from ecofed.config.methods import METHODS
from ecofed.devices import DeviceWorker
from ecofed.devices.answering import side_of
from ecofed.methods import METHOD_CLASSES
from ecofed.methods.transport import Answer
from ecofed.runs.experiment import run
from ecofed.runs.preparation import Prepared
from ecofed.runtimes import InProcessTransport
from ecofed.wire import Images, RefreshNew, decode


class Spy(InProcessTransport):
    """Keeps what crosses, and lets a test look at the devices."""

    def __init__(self, make_worker: Callable[[int], DeviceWorker]) -> None:
        super().__init__(make_worker)
        self.downlink: list[bytes] = []
        self.uplink: list[bytes] = []
        self.seen: list[DeviceWorker] = []

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:
        assert all(type(request) is bytes for request in requests)
        answer = super().exchange(device, requests, deadline)
        assert all(type(reply) is bytes for reply in answer.replies)
        self.downlink += requests
        self.uplink += answer.replies
        self.seen = list(self._workers.values())
        return answer


def spied(pictures: Path, method: str) -> tuple[Spy, Prepared]:
    config = small_config(pictures, method, sampled_devices=4, rounds=2, data__augment=False)
    spies: list[tuple[Spy, Prepared]] = []

    def connect(prepared: Prepared) -> Spy:
        spies.append((Spy(prepared.worker), prepared))
        return spies[0][0]

    run(config, connect=connect)
    return spies[0]


def reachable(roots: Iterable[object]) -> Iterator[object]:
    """Every object that can be reached from these without passing a class, a module or a function's globals."""
    waiting, known = list(roots), set()
    while waiting:
        item = waiting.pop()
        if id(item) in known or isinstance(item, (type, type(gc))):
            continue
        known.add(id(item))
        yield item
        waiting += [part for part in gc.get_referents(item) if not (isinstance(part, dict) and "__builtins__" in part)]


@pytest.mark.parametrize("method", METHODS)
def test_a_device_holds_no_part_of_the_back(method: str, pictures: Path) -> None:
    prepared = prepared_for(small_config(pictures, method, sampled_devices=4, rounds=2))
    back_names = {name for name, _ in prepared.halves.back.named_parameters()}
    back_shapes = {tuple(p.shape) for p in prepared.halves.back.parameters() if p.ndim > 1}
    front_shapes = {tuple(p.shape) for p in prepared.halves.front.parameters()}
    spies: list[Spy] = []
    held: list[tuple[set[str], set[tuple[int, ...]]]] = []

    class Look(Spy):
        def close(self) -> None:
            objects = list(reachable(self.seen))
            modules = [item for item in objects if isinstance(item, nn.Module)]
            tensors = [item for item in objects if isinstance(item, torch.Tensor)]
            arrays = [item for item in objects if isinstance(item, np.ndarray)]
            names = {name for module in modules for name, _ in module.named_parameters()}
            held.append((names, {tuple(item.shape) for item in [*tensors, *arrays]}))
            assert any(isinstance(item, DeviceWorker) for item in objects)
            super().close()

    def connect(ready: Prepared) -> Look:
        spies.append(Look(ready.worker))
        return spies[0]  # type: ignore[return-value]

    run(prepared.task.config, connect=connect)
    names, shapes = held[0]
    assert not names & back_names
    assert not (shapes & back_shapes) - front_shapes
    if method != "classic-fl":
        weights = [decode(data)[0] for data in spies[0].downlink]
        sent = {name for message in weights for field in ("weights", "front") for name in getattr(message, field, {})}
        assert not sent & back_names


def test_classic_fl_is_the_method_that_sends_the_back(pictures: Path) -> None:
    spy, prepared = spied(pictures, "classic-fl")
    back_names = {name for name, _ in prepared.halves.back.named_parameters()}
    message, _ = decode(spy.downlink[0])
    assert back_names <= set(message.weights)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", METHODS)
def test_no_image_crosses_the_wire(method: str, pictures: Path) -> None:
    spy, prepared = spied(pictures, method)
    images_NHWC = prepared.dataset.train.images_NHWC
    runs = [image[row].tobytes() for image in images_NHWC for row in (0, 7, 16, 31)]
    normalised = (images_NHWC[:, 16, :, 0] / np.float32(255) - np.float32(prepared.task.mean[0])) / np.float32(
        prepared.task.std[0]
    )
    runs += [row.astype(np.float32).tobytes()[:64] for row in normalised]
    assert all(len(piece) >= 32 for piece in runs)
    for data in spy.uplink:
        assert not any(piece in data for piece in runs)
    # The search finds what it is made for.
    assert runs[3] in b"before" + images_NHWC[0].tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_labels_and_images_leave_the_device_exactly_when_the_method_says_so(method: str, pictures: Path) -> None:
    spy, _ = spied(pictures, method)
    labels = [
        array
        for data in spy.uplink
        for name, array in vars(decode(data)[0]).items()
        if name.startswith("labels") and len(array)
    ]
    assert bool(labels) == METHOD_CLASSES[method].labels_leave_device
    replies, requests = ([decode(data)[0] for data in way] for way in (spy.uplink, spy.downlink))
    assert any(isinstance(reply, Images) for reply in replies) == METHOD_CLASSES[method].images_leave_device
    # It asks for nothing more than its devices answer, nor less; an update asks for what is new.
    assert {type(request) for request in requests} == set(side_of(method).answers) - {RefreshNew}
    assert all(array.dtype == np.uint8 for array in labels)
