"""What a server should not ask: both kinds of device refuse it, and keep what they had."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Mapping

import numpy as np
import pytest
from front_builders import front_bundle
from test_onnx_worker import ask, pair, task_of, upload

from ecofed.config.methods import METHODS
from ecofed.errors import ModelError
from ecofed.models import build_front, load_arrays, state_arrays
from ecofed.wire import (
    AskStatistics,
    Failure,
    FrontBundle,
    InstallFront,
    Refresh,
    SendImages,
    ServerLogits,
    Upload,
)

FRONT = front_bundle("lenet", "block2", 0.5, "frozen").for_device(8)
KERNEL = "block2.conv.weight"


def with_weights(**changes: np.ndarray) -> FrontBundle:
    names = {name: array for name, array in FRONT.weights.items() if name not in changes}
    return dataclasses.replace(FRONT, weights=names | changes)


def without(name: str) -> FrontBundle:
    return dataclasses.replace(FRONT, weights={key: array for key, array in FRONT.weights.items() if key != name})


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


OUT, IN = FRONT.weights[KERNEL].shape[:2]
CHANNELS, HEIGHT, WIDTH = FRONT.activation_shape
BAD: Mapping[str, FrontBundle] = {
    "another activation": dataclasses.replace(FRONT, activation_shape=(CHANNELS, HEIGHT, WIDTH + 1)),
    "blocks that do not fit each other": with_weights(**{KERNEL: zeros(OUT, IN + 1, 5, 5)}),
    "a kernel of no size": with_weights(**{KERNEL: zeros(OUT, IN, 0, 0)}),
    "a kernel of no layer": with_weights(**{KERNEL: zeros(OUT, IN, 5)}),
    "a bias of another length": with_weights(**{"block1.conv.bias": zeros(1)}),
    "no kernel": without(KERNEL),
    "no statistics": without("block1.norm.running_mean"),
    "statistics of another length": with_weights(**{"block1.norm.running_var": zeros(1)}),
    "images of another size": dataclasses.replace(FRONT, input_size=64),
    "images of no size for its pools": dataclasses.replace(FRONT, input_size=1),
    "images of other channels": dataclasses.replace(FRONT, in_channels=1, mean=(0.5,), std=(0.5,)),
    "another width": dataclasses.replace(FRONT, width=8.0),
    "an unknown cut": dataclasses.replace(FRONT, cut="nowhere"),
    "an unknown network": dataclasses.replace(FRONT, model="none"),
    "a bottleneck of no weight": with_weights(**{"bottleneck.conv.weight": zeros(60000, 60000, 0, 0)}),
    "a layer of very many channels": with_weights(
        **{"block1.conv.weight": zeros(5000, 3, 1, 1), KERNEL: zeros(OUT, 5000, 1, 1)}
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_a_front_that_does_not_run_is_refused_when_it_is_installed(case: str, kind: str) -> None:
    worker = pair(task_of(FRONT))[kind == "onnx"]
    before = upload(worker, FRONT)
    tracemalloc.start()
    try:
        reply = ask(worker, InstallFront(bundle=BAD[case].encode()))
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    # ONNX is built from the weights alone: for it a width is a word.
    assert isinstance(reply, Failure) == ((case, kind) != ("another width", "onnx")), reply
    if isinstance(reply, Failure):  # the front from before is still there
        kept = ask(worker, Refresh(round=1, view=0, front_id=FRONT.id, want_labels=True))
        assert isinstance(kept, Upload)
        assert kept.codes == before.codes


def test_more_features_than_the_task_has_are_not_computed() -> None:
    for worker in pair(task_of(FRONT, method="closed-form")):
        ask(worker, InstallFront(bundle=FRONT.encode()))
        reply = ask(worker, AskStatistics(round=1, front_id=FRONT.id, rows=HEIGHT, columns=WIDTH))
        assert isinstance(reply, Failure)
        assert "this task has at most 128" in reply.reason


@pytest.mark.parametrize("change", [{"size": 1024}, {"quality": 0}, {"quality": 100}, {"size": 1}])
def test_images_leave_as_the_task_says_or_not_at_all(change: dict[str, int]) -> None:
    for worker in pair(task_of(FRONT, method="send-images")):
        reply = ask(worker, SendImages(**{"round": 1, "quality": 75, "size": 0} | change))
        assert isinstance(reply, Failure)
        assert "not (75, 0)" in reply.reason


@pytest.mark.parametrize("method", [method for method in METHODS if method != "send-images"])
def test_a_device_is_asked_for_its_images_in_vain_where_its_method_does_not_send_them(method: str) -> None:
    with_torch, without = (
        ask(worker, SendImages(round=1, quality=75, size=0)) for worker in pair(task_of(FRONT, method=method))
    )
    assert with_torch == Failure(reason=f"SendImages is not a request that a device in a run of {method} answers")
    assert isinstance(without, Failure)


def test_logits_that_training_would_end_at_are_not_kept() -> None:
    worker, _ = pair(task_of(FRONT, method="fedgkt"))
    for value, refused in ((3e38, True), (-1e6, True), (50.0, False)):
        reply = ask(worker, ServerLogits(round=1, logits_NK=np.full((130, 10), value, np.float32)))
        assert isinstance(reply, Failure) == refused


def test_weights_are_loaded_all_or_none() -> None:
    front = build_front(FRONT, "frozen")
    before = state_arrays(front)
    names = list(before)
    worse = {name: np.ones_like(array) for name, array in before.items()} | {names[-1]: zeros(1)}
    with pytest.raises(ModelError, match="has shape"):
        load_arrays(front, worse)
    for name, array in state_arrays(front).items():
        np.testing.assert_array_equal(array, before[name])
