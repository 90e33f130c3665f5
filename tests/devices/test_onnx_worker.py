"""The device without PyTorch: the same messages, the same codes, the same refusals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from front_builders import front_bundle

from ecofed.config.schema import Config
from ecofed.config.task import Task
from ecofed.devices import DeviceWorker, LocalData, LocalImages, OnnxWorker
from ecofed.pretraining.bundling import early_bundle
from ecofed.randomness import generator
from ecofed.wire import (
    Acknowledge,
    Failure,
    FrontBundle,
    FrontInstalled,
    InstallFront,
    InstallNetwork,
    Message,
    Refresh,
    TrainWhole,
    Upload,
    decode,
    encode,
)
from plain import PLAIN_CHANGES

SAMPLES = 130


def task_of(bundle: FrontBundle, **changes: object) -> Task:
    config = Config(method="ecofed", batch_size=10, seed=5).replace(**PLAIN_CHANGES | {"codec__bits": 8} | changes)
    return Task(config=config, in_channels=3, classes=10, mean=bundle.mean, std=bundle.std, flip=True)


def pictures() -> tuple[np.ndarray, np.ndarray]:
    draw = generator(0, "test-pictures")
    return draw.integers(0, 256, (SAMPLES, 32, 32, 3)).astype(np.uint8), draw.integers(0, 10, SAMPLES)


def pair(task: Task) -> tuple[DeviceWorker, OnnxWorker]:
    torch.set_num_threads(1)
    images_NHWC, labels_N = pictures()
    data = (task, 3, images_NHWC, labels_N)
    return DeviceWorker(task, LocalData(*data)), OnnxWorker(task, LocalImages(*data))


def ask(worker: DeviceWorker | OnnxWorker, message: Message) -> Message:
    return decode(worker.handle(encode(message).data))[0]


def upload(worker: DeviceWorker | OnnxWorker, bundle: FrontBundle, view: int = 0) -> Upload:
    installed = ask(worker, InstallFront(bundle=bundle.encode()))
    assert installed == FrontInstalled(front_id=bundle.id)
    reply = ask(worker, Refresh(round=1, view=view, front_id=bundle.id, want_labels=True))
    assert isinstance(reply, Upload), reply
    return reply


@pytest.mark.parametrize("view", [0, 1])
def test_both_workers_upload_the_same(view: int) -> None:
    bundle = front_bundle("vgg11", "block2", 0.5, "frozen").for_device(8)
    by_torch, by_onnx = (upload(worker, bundle, view) for worker in pair(task_of(bundle)))
    assert by_onnx.front_id == by_torch.front_id
    np.testing.assert_array_equal(by_onnx.labels_N, by_torch.labels_N)
    codes, expected = (np.frombuffer(reply.codes, np.uint8).astype(int) for reply in (by_onnx, by_torch))
    assert (codes == expected).mean() >= 0.9999
    assert np.abs(codes - expected).max() <= 1
    assert by_onnx.saturated_fraction == pytest.approx(by_torch.saturated_fraction, abs=1e-6)


def test_the_papers_codec_has_a_scale_a_batch() -> None:
    bundle = front_bundle("vgg11", "block2", 0.25, "frozen")
    task = task_of(bundle, codec__name="minmax")
    by_torch, by_onnx = (upload(worker, bundle) for worker in pair(task))
    assert len(by_onnx.scales) == SAMPLES // 10
    np.testing.assert_allclose(by_onnx.scales, by_torch.scales, rtol=1e-5)


@pytest.mark.parametrize("early_bits", [8, 32])
def test_both_workers_stop_early_where_the_bundle_does(early_bits: int) -> None:
    early = early_bundle(
        front_bundle("vgg11", "block2", 0.5, "frozen"), "block1", early_bits if early_bits < 9 else None
    )
    task = task_of(early, ecofed__early_bits=early_bits)
    by_torch, by_onnx = (upload(worker, early) for worker in pair(task))
    dtype = np.uint8 if early_bits == 8 else np.float32
    values, expected = (np.frombuffer(reply.codes, dtype).astype(float) for reply in (by_onnx, by_torch))
    assert len(values) == SAMPLES * 32 * 16 * 16
    np.testing.assert_allclose(values, expected, atol=1 if early_bits == 8 else 1e-5)


def test_without_a_front_or_with_another_one_it_uploads_nothing() -> None:
    bundle = front_bundle("lenet", "block2", 0.5, "frozen").for_device(8)
    _, worker = pair(task_of(bundle))
    request = Refresh(round=1, view=0, front_id=bundle.id, want_labels=True)
    before = ask(worker, request)
    assert isinstance(before, Failure)
    assert "no front is installed" in before.reason
    upload(worker, bundle)
    other = ask(worker, Refresh(round=1, view=0, front_id="0" * 32, want_labels=True))
    assert isinstance(other, Failure)
    assert bundle.id in other.reason


def test_training_requests_are_refused_with_the_reason() -> None:
    bundle = front_bundle("lenet", "block2", 0.5, "frozen")
    _, worker = pair(task_of(bundle, method="classic-fl"))
    reply = ask(worker, TrainWhole(round=1, weights={"a": np.zeros(1, np.float32)}))
    assert isinstance(reply, Failure)
    assert "no PyTorch" in reply.reason


def test_the_trained_network_is_written_where_the_device_wants_it(tmp_path: Path) -> None:
    bundle = front_bundle("lenet", "block2", 0.5, "frozen")
    data = LocalImages(task_of(bundle), 0, *pictures())
    for folder, answer in ((tmp_path, Acknowledge(round=3)), (tmp_path / "missing", None)):
        worker = OnnxWorker(task_of(bundle), data, network=folder / "network.onnx")
        reply = ask(worker, InstallNetwork(round=3, network=b"onnx"))
        assert reply == answer if answer else isinstance(reply, Failure)
    assert (tmp_path / "network.onnx").read_bytes() == b"onnx"
    assert len(list(tmp_path.iterdir())) == 1


def test_rubbish_is_answered_with_a_failure() -> None:
    bundle = front_bundle("lenet", "block2", 0.5, "frozen")
    _, worker = pair(task_of(bundle))
    for rubbish in (b"", b"hello", encode(Failure(reason="x")).data):
        message, _ = decode(worker.handle(rubbish))
        assert isinstance(message, Failure)
    assert isinstance(ask(worker, InstallFront(bundle=b"not a bundle")), Failure)


def test_pytorch_is_never_imported() -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\n"
        "from ecofed.devices import OnnxWorker, LocalImages\nfrom ecofed.onnx import Session, DeviceBundle\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
