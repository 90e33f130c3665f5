"""What is exported is what was trained, and a device can use it without PyTorch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ecofed
from ecofed.activations import answers_by_the_batch
from ecofed.config.network_input import TEST_BATCH, images_at_once
from ecofed.config.schema import Config
from ecofed.data import load_dataset
from ecofed.devices import LocalImages, OnnxWorker
from ecofed.errors import ConfigError, ModelError
from ecofed.errors.installation import install_command
from ecofed.methods.loop import test_batch as in_a_pass
from ecofed.models.to_onnx import add_network
from ecofed.onnx import DeviceBundle, Graph, Session
from ecofed.onnx.front_graphs import front_to_onnx
from ecofed.runs.exporting import export_front, export_network, network_file
from ecofed.runs.prediction import OnnxNetwork
from ecofed.runs.saved_model import load_model
from ecofed.wire import FrontInstalled, InstallFront, Refresh, Upload, decode, encode, int8_codes
from plain import PLAIN_CHANGES

TINY = Config(rounds=1, devices=2, sampled_devices=2, batch_size=10, test_samples=50, initialisation="random").replace(
    model__width=0.25, data__name="digits", data__samples_per_device=20, front__name="random", **PLAIN_CHANGES
)


def quiet(_: str) -> None:
    """Nobody to tell."""


@pytest.mark.filterwarnings("ignore:privacy")
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("lenet", {"codec__bits": 4}),
        ("resnet9", {"codec__name": "minmax", "codec__bits": 8}),
        ("alexnet", {"codec__name": "float32"}),
        ("vgg11", {"method": "classic-fl", "normalisation": "group"}),
        ("lenet", {"method": "closed-form"}),
        ("lenet", {"method": "closed-form", "privacy__epsilon": 50.0, "privacy__clip": 0.2}),
    ],
)
def test_an_exported_network_answers_as_the_trained_one(
    model: str, settings: dict[str, object], tmp_path: Path
) -> None:
    config = TINY.replace(model__name=model, model__head_width=32, **settings)
    ecofed.run(config, out=tmp_path / "run", report=False)
    size = export_network(tmp_path / "run", tmp_path / "network.onnx")
    assert size == (tmp_path / "network.onnx").stat().st_size
    trained, exported = load_model(tmp_path / "run"), OnnxNetwork(tmp_path / "network.onnx")
    images_NHWC = load_dataset("digits").train.images_NHWC[:100]
    assert exported.classes == trained.classes
    assert exported.by_the_batch == answers_by_the_batch(config) == (config.codec.name == "minmax")
    np.testing.assert_allclose(exported(images_NHWC), trained.logits(images_NHWC).numpy(), atol=2e-3)


def test_a_scale_of_a_batch_is_of_as_many_large_pictures_as_of_small_ones() -> None:
    photographs = Config().replace(model__name="efficientnet-lite0", model__width=1, model__image_size=128)
    scaled = photographs.replace(codec__name="minmax", codec__bits=8)
    assert in_a_pass(photographs) == images_at_once(128) < TEST_BATCH
    assert in_a_pass(scaled) == in_a_pass(photographs.replace(normalisation="batch")) == TEST_BATCH
    assert in_a_pass(scaled.replace(method="classic-fl")) < TEST_BATCH  # which sends no codes


def test_int8_is_a_quarter_of_the_size_and_nearly_as_good(tmp_path: Path) -> None:
    ecofed.run(TINY.replace(model__name="lenet", rounds=2), out=tmp_path / "run", report=False)
    whole = export_network(tmp_path / "run", tmp_path / "whole.onnx")
    small = export_network(tmp_path / "run", tmp_path / "small.onnx", int8=True)
    assert small < 0.3 * whole
    images_NHWC = load_dataset("digits").train.images_NHWC[:200]
    answers = [OnnxNetwork(tmp_path / f"{name}.onnx")(images_NHWC).argmax(axis=1) for name in ("whole", "small")]
    assert (answers[0] == answers[1]).mean() > 0.9


def test_predict_needs_no_pytorch(tmp_path: Path) -> None:
    ecofed.run(TINY.replace(model__name="lenet"), out=tmp_path / "run", report=False)
    export_network(tmp_path / "run", tmp_path / "network.onnx")
    files = []
    for index, image_HWC in enumerate(load_dataset("digits").train.images_NHWC[:3]):
        files.append(str(tmp_path / f"{index}.png"))
        Image.fromarray(image_HWC[..., 0]).save(files[-1])
    code = (
        "import sys\nsys.modules['torch'] = None\nimport ecofed\n"
        f"for p in ecofed.predict({str(tmp_path / 'network.onnx')!r}, {files!r}): print(p.label, p.probability)\n"
        f"try: ecofed.predict({str(tmp_path / 'run')!r}, {files!r})\n"
        "except ecofed.MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *lines, refusal = done.stdout.splitlines()
    assert install_command("train") in refusal
    expected = ecofed.predict(tmp_path / "run", files)
    assert [line.split()[0] for line in lines] == [prediction.label for prediction in expected]
    assert [float(line.split()[1]) for line in lines] == pytest.approx([p.probability for p in expected], abs=1e-3)


@pytest.mark.parametrize("int8", [False, True])
def test_a_device_runs_the_front_that_it_was_given(int8: bool, tmp_path: Path) -> None:
    exported = export_front(TINY.replace(model__name="lenet"), tmp_path, quiet, int8=int8)
    loaded = DeviceBundle.load(tmp_path)
    assert loaded.front_id == exported.front_id == loaded.bundle.id
    train = load_dataset("digits").train
    data = LocalImages(loaded.task, 0, train.images_NHWC[:30], train.labels_N[:30])
    uploads = []
    for bundle in (loaded, None):  # the exported graph, and the one that the device builds from the weights
        worker = OnnxWorker(loaded.task, data, bundle)
        installed, _ = decode(worker.handle(encode(InstallFront(bundle=loaded.bundle.encode())).data))
        assert installed == FrontInstalled(front_id=exported.front_id)
        request = Refresh(round=1, view=0, front_id=exported.front_id, want_labels=True)
        reply, _ = decode(worker.handle(encode(request).data))
        assert isinstance(reply, Upload)
        uploads.append(np.frombuffer(reply.codes, np.uint8))
    assert (uploads[0] == uploads[1]).mean() > 0.999


@pytest.mark.ci
def test_an_int8_front_is_another_front(tmp_path: Path) -> None:
    config = TINY.replace(model__name="vgg11", model__head_width=32)
    whole = export_front(config, tmp_path / "a", quiet)
    small = export_front(config, tmp_path / "b", quiet, int8=True)
    assert whole.front_id != small.front_id
    assert len(small.front) < 0.4 * len(whole.front)
    used = ecofed.run(config.replace(initialisation="front", front__name=str(tmp_path / "b" / "front.safetensors")))
    assert used.front is not None
    assert used.front["id"] == small.front_id


@pytest.mark.ci
@pytest.mark.parametrize(
    "changes",
    [{}, {"front__name": "auto", "normalisation": "frozen"}, {"front__precision": "int8"}],
    ids=["random", "shipped", "delivered as int8"],
)
def test_no_file_of_an_int8_front_is_larger_and_its_onnx_weights_are_the_bundles(
    changes: dict[str, str], tmp_path: Path
) -> None:
    config = TINY.replace(model__name="vgg11", model__head_width=32).replace(**changes)
    export_front(config, tmp_path / "whole", quiet)
    exported = export_front(config, tmp_path / "small", quiet, int8=True)
    sizes = {
        name: [(tmp_path / kind / name).stat().st_size for kind in ("whole", "small")]
        for name in ("front.onnx", "front.safetensors")
    }
    assert sizes["front.onnx"][1] < 0.4 * sizes["front.onnx"][0]
    already = config.front.precision == "int8"
    assert sizes["front.safetensors"][1] <= (1 if already else 0.7) * sizes["front.safetensors"][0]
    x_NCHW = np.random.default_rng(0).normal(size=(4, 1, 32, 32)).astype(np.float32)
    written, made = Session(exported.front), Session(front_to_onnx(exported.bundle, config.normalisation))
    # Equal weights; ONNX Runtime folds a normalisation into constant weights only, which moves the last digit.
    np.testing.assert_allclose(written(x_NCHW), made(x_NCHW), rtol=0, atol=2e-5)


def test_int8_codes_of_a_convolution_and_of_a_linear_layer_are_their_own() -> None:
    for shape in ((6, 3, 5, 5), (6, 40)):
        weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        codes, scale_O = int8_codes(weight)
        rounded = (codes.T * scale_O).T.astype(np.float32)
        assert np.abs(rounded - weight).max() <= 0.51 * scale_O.max()
        again, same_O = int8_codes(rounded)
        np.testing.assert_array_equal(again, codes)
        np.testing.assert_array_equal(same_O, scale_O)


@pytest.mark.parametrize("name", ["front.onnx", "front.safetensors", "device.json"])
def test_a_damaged_device_bundle_is_refused(name: str, tmp_path: Path) -> None:
    export_front(TINY.replace(model__name="lenet"), tmp_path, quiet)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=name if name != "device.json" else "not a device bundle"):
        DeviceBundle.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ModelError, match="not a device bundle"):
        DeviceBundle.load(tmp_path)


@pytest.mark.parametrize("delivery", ["float", "int8"])
def test_the_trained_network_reaches_the_devices_and_is_counted(delivery: str, tmp_path: Path) -> None:
    config = TINY.replace(model__name="lenet", delivery=delivery)
    plain = ecofed.run(config.replace(delivery="none"))
    delivered = ecofed.run(config, out=tmp_path, report=False, observer=ecofed.SilentObserver())
    size = export_network(tmp_path, tmp_path / "network.onnx", int8=delivery == "int8")
    assert delivered.ledger["weights"]["downlink"] == plain.ledger["weights"]["downlink"] + 2 * size
    assert f"{size:,} bytes of ONNX, went to 2 of 2 devices" in delivered.notes[-1]
    assert delivered.totals.final_test_accuracy == plain.totals.final_test_accuracy


def test_only_ecofed_has_a_front_to_export(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="classic-fl"):
        export_front(TINY.replace(method="classic-fl"), tmp_path, quiet)


def test_layers_without_a_counterpart_are_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sin(x)

    for network, name in ((nn.Sequential(nn.GELU()), "GELU"), (Odd(), "sin")):
        graph = Graph((3, 8, 8))
        with pytest.raises(ModelError, match=name):
            add_network(graph, network, (graph.input, torch.zeros(2, 3, 8, 8)))


def test_a_network_of_ones_own() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1, ceil_mode=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(6, 4),
    ).eval()
    graph = Graph((3, 16, 16))
    name, example = add_network(graph, network, (graph.input, torch.zeros(2, 3, 16, 16)))
    x_NCHW = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(x_NCHW).numpy()
    answers = Session(graph.encode(name, tuple(example.shape[1:])))(x_NCHW.numpy())
    np.testing.assert_allclose(answers, expected, atol=1e-6)


class WrittenOver(nn.Module):
    """A residual block whose first layer writes into the input that is added at the end."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.before, self.first, self.second = nn.Conv2d(3, 3, 1), first, nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.before(x)
        return h + self.second(self.first(h))  # type: ignore[no-any-return]


class Inside(nn.Module):
    """A layer of somebody's, which writes into its input and returns something else."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("first", [nn.ReLU(inplace=True), nn.SiLU(inplace=True), Inside()])
def test_what_a_layer_writes_into_its_input_is_in_the_file_too(first: nn.Module) -> None:
    network = WrittenOver(first).eval()
    graph = Graph((3, 4, 4))
    name, _ = add_network(graph, network, (graph.input, torch.zeros(2, 3, 4, 4)))
    x_NCHW = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(x_NCHW.clone()).numpy()
    np.testing.assert_allclose(Session(graph.encode(name, (3, 4, 4)))(x_NCHW.numpy()), expected, atol=1e-5)


def test_a_view_that_is_written_into_is_refused_and_so_is_another_flattening() -> None:
    class View(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.sigmoid(x)
            flat = torch.relu(torch.nn.functional.relu(h.flatten(1), inplace=True))
            return flat * h.mean((2, 3))

    class Otherwise(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.flatten(x, end_dim=1)

    for network, told in ((View(), "writes into its input"), (Otherwise(), "'flatten' cannot be written as ONNX")):
        graph = Graph((3, 1, 1))
        with pytest.raises(ModelError, match=told):
            add_network(graph, network, (graph.input, torch.zeros(2, 3, 1, 1)))


def test_adaptive_pooling_of_one_side_alone() -> None:
    graph = Graph((3, 4, 8))
    network = nn.AdaptiveAvgPool2d((None, 2))
    name, example = add_network(graph, nn.Sequential(network), (graph.input, torch.zeros(2, 3, 4, 8)))
    x_NCHW = torch.rand(2, 3, 4, 8)
    answers = Session(graph.encode(name, tuple(example.shape[1:])))(x_NCHW.numpy())
    np.testing.assert_allclose(answers, network(x_NCHW).numpy(), atol=1e-6)


def test_a_foreign_onnx_file_is_not_a_trained_network(tmp_path: Path) -> None:
    graph = Graph((3,))
    (tmp_path / "foreign.onnx").write_bytes(graph.encode(graph.node("Relu", graph.input), (3,)))
    with pytest.raises(ModelError, match="ecofed export network"):
        OnnxNetwork(tmp_path / "foreign.onnx")


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["cat"] * 10, "the classes 'cat' and 'cat' have the same name"),
        (["caf\u00e9", "cafe\u0301 ", *"01234567"], "have the same name once letters are composed"),
        (["", *"012345678"], "a class has no name"),
    ],
)
def test_an_exported_network_whose_answers_have_one_name_is_refused(
    classes: list[str], words: str, tmp_path: Path
) -> None:
    ecofed.run(TINY.replace(model__name="lenet"), out=tmp_path / "run", report=False)
    trained = load_model(tmp_path / "run")
    trained.classes = classes
    (tmp_path / "network.onnx").write_bytes(network_file(trained))
    with pytest.raises(ModelError, match=words):
        OnnxNetwork(tmp_path / "network.onnx")
