"""Fronts: random, pre-trained, through a bottleneck, resumed, from a checkpoint."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ecofed.activations import make_codec
from ecofed.config.problem import ModelConfig
from ecofed.errors import CheckpointError, ConfigError, ModelError, StorageError
from ecofed.models import build_front, build_model, initialise, state_arrays
from ecofed.pretraining import EpochReport, PublicImages, Recipe, load_images, pretrain_front, random_front, train
from ecofed.pretraining.bottleneck import StraightThroughQuantiser
from ecofed.pretraining.bundling import activations
from ecofed.pretraining.checkpoint_front import front_from_checkpoint
from ecofed.pretraining.train import learning_rate
from ecofed.randomness import generator, permutation
from ecofed.wire import FrontBundle

SMALL = ModelConfig(name="vgg11", width=0.125)
QUICK = Recipe(epochs=2, batch_size=32, seed=1)


@pytest.fixture(scope="module")
def images() -> PublicImages:
    fractals = load_images("fractals", channels=3, limit=96)
    return dataclasses.replace(fractals, labels_N=fractals.labels_N % 4, classes=4)


@pytest.fixture(scope="module")
def narrow_front(images: PublicImages) -> FrontBundle:
    return pretrain_front(SMALL, images, QUICK, narrow=4, bits=2)


@pytest.mark.ci
def test_a_random_front_is_a_function_of_its_seed() -> None:
    first, again, other = (random_front(SMALL, 3, seed) for seed in (0, 0, 1))
    assert first.id == again.id != other.id
    assert first.activation_shape == (16, 8, 8)
    assert sorted(first.upper) == list(range(1, 9))
    assert first.card["saturated_fraction"] < 0.2
    assert FrontBundle.decode(first.encode()).id == first.id


def test_convolution_weights_cost_two_bytes_each_and_lose_nothing() -> None:
    bundle = random_front(SMALL, 3, 0)
    weights = sum(array.size for array in bundle.weights.values() if array.ndim == 4)
    others = sum(array.size for array in bundle.weights.values() if array.ndim != 4)
    assert len(bundle.for_device(4).encode()) < 2 * weights + 4 * others + 3000
    decoded = FrontBundle.decode(bundle.encode())
    for name, array in bundle.weights.items():
        assert decoded.weights[name].dtype == np.float32
        assert np.array_equal(decoded.weights[name], array)


@pytest.mark.parametrize("name", ["resnet9", "alexnet", "lenet"])
def test_every_model_has_a_random_front_for_grey_images(name: str) -> None:
    bundle = random_front(ModelConfig(name=name, width=0.125), 1, 0)
    assert bundle.in_channels == 1
    assert bundle.weights["block1.conv.weight"].shape[1] == 1


def test_a_random_front_can_have_group_normalisation() -> None:
    bundle = random_front(SMALL, 3, 0, normalisation="group")
    assert bundle.normalisation == "group"
    assert not [name for name in bundle.weights if "running" in name]
    build_front(bundle, "group")


@pytest.mark.ci
def test_pretraining_reports_and_is_deterministic(images: PublicImages) -> None:
    reports: list[EpochReport] = []
    first = pretrain_front(SMALL, images, QUICK, report=reports.append)
    assert [(report.epoch, report.epochs) for report in reports] == [(1, 2), (2, 2)]
    assert all(np.isfinite(report.loss) for report in reports)
    assert first.id == pretrain_front(SMALL, images, QUICK).id
    assert first.id != random_front(SMALL, 3, 1).id
    assert first.card["epochs"] == 2
    assert first.card["images"] == "rendered fractals"


@pytest.mark.parametrize("mixup", [0.0, 0.8])
def test_the_loss_is_of_both_labels_of_a_mixed_image(
    mixup: float, images: PublicImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One epoch of one batch, before the first step."""
    monkeypatch.setattr(train, "has_bfloat16", lambda: False)
    few = dataclasses.replace(images, images_NHWC=images.images_NHWC[:16], labels_N=images.labels_N[:16])
    recipe = Recipe(epochs=1, batch_size=16, mixup=mixup, label_smoothing=0)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, few.classes))
    order = permutation(recipe.seed, "pretraining-order", 16, round_=0)
    drawn = generator(recipe.seed, "pretraining-batch", round_=0, sample=0)
    x_BCHW, y_B, z_B, weight = train._batch(few, order, recipe, drawn)
    logits = network(x_BCHW).detach()
    losses = [float(torch.nn.functional.cross_entropy(logits, labels)) for labels in (y_B, z_B)]
    (report,) = train.train_network(network, few, recipe)
    assert report.loss == pytest.approx(weight * losses[0] + (1 - weight) * losses[1], rel=1e-5)
    assert report.accuracy == float((logits.argmax(dim=1) == y_B).float().mean())
    assert weight == 1 if not mixup else 0.5 <= weight < 1
    assert losses[0] != losses[1]


@pytest.mark.ci
def test_training_learns(images: PublicImages) -> None:
    few = dataclasses.replace(images, images_NHWC=images.images_NHWC[:16], labels_N=images.labels_N[:16])
    reports: list[EpochReport] = []
    recipe = Recipe(epochs=40, batch_size=16, label_smoothing=0)
    pretrain_front(SMALL, few, recipe, report=reports.append)
    assert reports[-1].accuracy > 0.7


@pytest.mark.ci
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(images: PublicImages, tmp_path: Path) -> None:
    path = tmp_path / "training.ckpt"

    def stop(_: EpochReport) -> None:
        raise KeyboardInterrupt

    whole = pretrain_front(SMALL, images, QUICK)
    with pytest.raises(KeyboardInterrupt):
        pretrain_front(SMALL, images, QUICK, report=stop, checkpoint=path)
    seen: list[int] = []
    resumed = pretrain_front(SMALL, images, QUICK, report=lambda report: seen.append(report.epoch), checkpoint=path)
    assert seen == [2]
    assert resumed.id == whole.id


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the length of files")
def test_a_full_disk_is_one_error_that_names_the_checkpoint(images: PublicImages, tmp_path: Path) -> None:
    import resource

    few = dataclasses.replace(images, images_NHWC=images.images_NHWC[:16], labels_N=images.labels_N[:16])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"training\.ckpt: cannot be written \(File too large\)"):
            pretrain_front(SMALL, few, QUICK, checkpoint=tmp_path / "training.ckpt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [*tmp_path.iterdir()]


def test_a_foreign_checkpoint_is_refused(images: PublicImages, tmp_path: Path) -> None:
    path = tmp_path / "training.ckpt"
    path.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="not a checkpoint of this training"):
        pretrain_front(SMALL, images, QUICK, checkpoint=path)
    path.unlink()
    pretrain_front(SMALL, images, QUICK, checkpoint=path)
    with pytest.raises(CheckpointError, match="other settings"):
        pretrain_front(SMALL, images, dataclasses.replace(QUICK, seed=2), checkpoint=path)


def test_a_checkpoint_with_a_flipped_bit_is_refused_not_trained_on(images: PublicImages, tmp_path: Path) -> None:
    """PyTorch's own reader takes it as it is."""
    few = dataclasses.replace(images, images_NHWC=images.images_NHWC[:16], labels_N=images.labels_N[:16])
    path, recipe = tmp_path / "training.ckpt", Recipe(epochs=1, batch_size=16)

    def go_on() -> None:
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, few.classes))
        train.train_network(network, few, recipe, checkpoint=path)

    go_on()
    whole = path.read_bytes()
    go_on()
    path.write_bytes(whole[4 + 4 :])  # as earlier versions wrote it
    go_on()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 0x40]) + whole[middle + 1 :])
    with pytest.raises(CheckpointError, match=r"not a checkpoint of this training \(it is damaged.*; delete it"):
        go_on()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match=r"training\.ckpt: cannot be read \(it is no regular file"):
        go_on()


def test_a_bottleneck_front_is_narrow_and_bounded(narrow_front: FrontBundle) -> None:
    assert narrow_front.activation_shape == (4, 8, 8)
    assert set(narrow_front.upper) == {2}
    assert (narrow_front.upper[2] == 1).all()
    assert narrow_front.card["bytes_per_image"] == 64
    assert narrow_front.expansion["conv.weight"].shape == (16, 4, 1, 1)
    assert "bottleneck.norm.running_var" in narrow_front.weights
    assert FrontBundle.decode(narrow_front.encode()).id == narrow_front.id
    with pytest.raises(ConfigError, match=r"for \[2\] bits only; set codec.name=uniform and codec.bits=2"):
        narrow_front.for_device(8)
    with pytest.raises(ConfigError, match=r"for \[8\] bits only; set codec.name=dct and codec.bits=8"):
        dataclasses.replace(narrow_front, upper={8: narrow_front.upper[2]}).for_device(2)


def test_a_bottleneck_needs_channels_and_bits(images: PublicImages) -> None:
    with pytest.raises(ConfigError, match="give both"):
        pretrain_front(SMALL, images, QUICK, narrow=4)


def test_training_goes_on_from_another_front(images: PublicImages, narrow_front: FrontBundle) -> None:
    still = Recipe(epochs=0)
    started = pretrain_front(SMALL, images, still, start=narrow_front)
    for name in ("block1.conv.weight", "block2.norm.weight"):
        assert np.array_equal(started.weights[name], narrow_front.weights[name])
    assert started.card["started_from"] == narrow_front.id


@settings(max_examples=20)
@given(bits=st.integers(1, 4), seed=st.integers(0, 1000))
def test_the_quantiser_in_training_is_the_codec(bits: int, seed: int) -> None:
    h_NCHW = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 1.5
    codec = make_codec("uniform", bits, (3, 4, 4), np.ones(3, np.float32))
    decoded = codec.decode(codec.encode(h_NCHW.numpy(), 2).rows)
    np.testing.assert_allclose(StraightThroughQuantiser(bits)(h_NCHW).numpy(), decoded, atol=1e-6)


def test_gradients_pass_the_rounding_and_stop_at_clipped_entries() -> None:
    h = torch.tensor([-0.5, 0.2, 0.9, 1.5], requires_grad=True)
    StraightThroughQuantiser(2)(h).sum().backward()
    assert h.grad is not None
    assert h.grad.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_decoded_codes_do_not_depend_on_batch_mates(bits: int) -> None:
    bundle = random_front(SMALL, 3, 0)
    front = build_front(bundle, "frozen")
    codec = make_codec("uniform", bits, bundle.activation_shape, bundle.upper[bits])
    x_NCHW = torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(0)).numpy()
    together = codec.decode(codec.encode(activations(front, x_NCHW), 16).rows)
    alone = np.concatenate([codec.decode(codec.encode(activations(front, x[None]), 1).rows) for x in x_NCHW])
    # An entry on a rounding boundary may fall either way when sums are ordered differently.
    assert (np.abs(together - alone) > 1e-4).mean() < 1e-3


def test_learning_rate_rises_then_falls_to_nearly_nothing() -> None:
    recipe = Recipe(epochs=1)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    top = int(np.argmax(rates))
    assert 10 <= top <= 20
    assert max(rates) == pytest.approx(recipe.learning_rate, rel=0.01)
    assert rates[0] < 0.05 * recipe.learning_rate
    assert rates[-1] < 0.01 * recipe.learning_rate
    assert rates == sorted(rates[: top + 1]) + sorted(rates[top + 1 :], reverse=True)


def whole_network(name: str = "vgg11") -> dict[str, np.ndarray]:
    model = build_model(ModelConfig(name=name, width=0.125), in_channels=3, classes=7, normalisation="frozen")
    initialise(model, 4)
    return state_arrays(model)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_front_out_of_a_pytorch_checkpoint(images: PublicImages, tmp_path: Path, wrapped: bool) -> None:
    weights = {name: torch.from_numpy(array) for name, array in whole_network().items()}
    content = {"state_dict": {f"module.{name}": value for name, value in weights.items()}} if wrapped else weights
    torch.save(content, tmp_path / "network.pt")
    bundle = front_from_checkpoint(tmp_path / "network.pt", SMALL, images)
    # Rounded to float16 precision, and to nothing else.
    expected = whole_network()["block2.conv.weight"].astype(np.float16).astype(np.float32)
    assert np.array_equal(bundle.weights["block2.conv.weight"], expected)


def test_a_front_out_of_a_safetensors_checkpoint_and_what_is_refused(images: PublicImages, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    save_file(whole_network(), path)
    assert front_from_checkpoint(path, SMALL, images).activation_shape == (16, 8, 8)
    with pytest.raises(ModelError, match=r"'block1.conv.bias' has shape \(8,\).*width 0.25"):
        front_from_checkpoint(path, dataclasses.replace(SMALL, width=0.25), images)
    save_file({f"features.{name}": array for name, array in whole_network().items()}, path)
    with pytest.raises(ModelError, match=r"has no 'block1.conv.weight' \(did you mean"):
        front_from_checkpoint(path, SMALL, images)
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(ModelError, match="not a safetensors file"):
        front_from_checkpoint(path, SMALL, images)
    with pytest.raises(ModelError, match="no such file"):
        front_from_checkpoint(tmp_path / "missing.pt", SMALL, images)
    torch.save({"weights": object}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="plain tensors") as refused:
        front_from_checkpoint(tmp_path / "evil.pt", SMALL, images)
    assert "\n" not in str(refused.value)
