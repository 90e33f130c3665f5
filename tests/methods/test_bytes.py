"""Bytes per device and round, against arithmetic that is written out here."""

from __future__ import annotations

import pytest
from tiny import run, started, tiny_config

from ecofed.config import Settings
from ecofed.config.methods import METHODS
from ecofed.models import activation_shape
from ecofed.results import RunResult

SAMPLES, CLASSES = 20, 10


def content(result: RunResult, direction: str) -> dict[str, int]:
    return {kind: row[direction] for kind, row in result.ledger.items() if row[direction] and kind != "control"}


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    """Float32 bytes of the tiny network's parts."""
    method, prepared = started(tiny_config("lgl", normalisation="batch", initialisation="random"))
    front = 4 * sum(parameter.numel() for parameter in method.halves.front.parameters())
    whole = 4 * sum(parameter.numel() for parameter in method.model.parameters())
    channels, height, width = activation_shape(method.halves.front, prepared.task.in_channels)
    entries = channels * height * width
    return {"front": front, "whole": whole, "entries": entries, "auxiliary": 4 * (entries + 1) * CLASSES}


def test_every_byte_of_every_method(sizes: dict[str, int]) -> None:
    visits = 3 * 2  # rounds x sampled devices
    results = {
        method: run(tiny_config(method, normalisation="batch", initialisation="random")) for method in METHODS[:4]
    }
    activations = 4 * SAMPLES * sizes["entries"] * visits
    logits, labels = 4 * SAMPLES * CLASSES * visits, SAMPLES * visits
    networks = (sizes["front"] + sizes["auxiliary"]) * visits
    assert content(results["classic-fl"], "uplink") == {"weights": sizes["whole"] * visits}
    assert content(results["classic-fl"], "downlink") == {"weights": sizes["whole"] * visits}
    front = sizes["front"] * visits
    assert content(results["vanilla-dpfl"], "uplink") == {
        "weights": front,
        "activations": activations,
        "labels": labels,
    }
    assert content(results["vanilla-dpfl"], "downlink") == {"weights": front, "gradients": activations}
    assert content(results["lgl"], "uplink") == {"weights": networks, "activations": activations, "labels": labels}
    assert content(results["lgl"], "downlink") == {"weights": networks}
    assert content(results["fedgkt"], "uplink") == {
        "weights": networks,
        "activations": activations,
        "labels": labels,
        "logits": logits,
    }
    assert content(results["fedgkt"], "downlink") == {"weights": networks, "logits": logits}


@pytest.mark.parametrize(("bits", "row"), [(1, 1 / 8), (4, 1 / 2), (8, 1)])
def test_ecofed_uploads_bits_per_entry_and_labels_once(sizes: dict[str, int], bits: int, row: float) -> None:
    result = run(tiny_config("ecofed", devices=2, rounds=3, codec__bits=bits, codec__name="uniform"))
    # Both devices upload in rounds 1 and 3; labels travel with the first upload, the front once.
    assert content(result, "uplink")["activations"] == int(2 * 2 * SAMPLES * sizes["entries"] * row)
    assert content(result, "uplink")["labels"] == 2 * SAMPLES
    assert [record.uplink_bytes > 0 for record in result.rounds] == [True, False, True]
    assert [record.refreshed for record in result.rounds] == [True, False, True]
    front = content(result, "downlink")["front"]
    assert front % 2 == 0
    # Convolution weights are delivered in two bytes each.
    assert sizes["front"] / 2 < front / 2 < sizes["front"] / 2 + 4000


def test_a_preinstalled_front_is_not_counted() -> None:
    result = run(tiny_config("ecofed", front__delivery="preinstalled"))
    assert content(result, "downlink") == {}


def test_the_ledger_adds_up() -> None:
    for method in METHODS:
        result = run(tiny_config(method))
        for direction in ("uplink", "downlink"):
            by_kind = sum(row[direction] for row in result.ledger.values())
            by_round = sum(getattr(record, f"{direction}_bytes") for record in result.rounds)
            assert by_kind == by_round == getattr(result.totals, f"{direction}_bytes")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "expected_mb"),
    [
        (
            "paper-vgg11-cifar10",
            {"classic-fl": 275.528, "vanilla-dpfl": 33.377, "lgl": 17.648, "fedgkt": 17.688, "ecofed": 2.048},
        ),
        ("paper-resnet9-cifar10", {"classic-fl": 75.166, "ecofed": 2.048}),
    ],
)
def test_the_papers_setting(preset: str, expected_mb: dict[str, float], tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """The paper's bytes per device and round, within 0.3 %, and its 133x and 16x; on random images of CIFAR's shape."""
    write_noise(tmp_path / "cifar10")
    monkeypatch.setenv("ECOFED_DATA", str(tmp_path))
    sets = ["rounds=2", "sampled_devices=1", "devices=2", "test_samples=10", "front.name=random"]
    settings = Settings.load(preset, sets)
    measured = {method: run(settings.for_method(method)).bytes_per_device_round / 1e6 for method in expected_mb}
    assert measured == {method: pytest.approx(megabytes, rel=0.003) for method, megabytes in expected_mb.items()}
    ratio = measured["classic-fl"] / measured["ecofed"]
    assert ratio == pytest.approx(134.5 if "vgg11" in preset else 36.7, rel=0.003)
    if "vanilla-dpfl" in measured:
        assert measured["vanilla-dpfl"] / measured["ecofed"] == pytest.approx(16.3, rel=0.003)


def write_noise(folder) -> None:  # type: ignore[no-untyped-def]
    """A data set of noise with CIFAR-10's shapes: 500 training samples for each of two devices."""
    import io

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    from ecofed.randomness import generator

    folder.mkdir()
    draw = generator(0, "noise")
    for split, count in (("train", 1000), ("test", 100)):
        pictures = []
        for _ in range(count):
            buffer = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(buffer, "PNG")
            pictures.append({"bytes": buffer.getvalue(), "path": None})
        labels = [index % 10 for index in range(count)]
        pq.write_table(pa.table({"img": pictures, "label": labels}), folder / f"{split}.parquet")
