"""Replies that are well formed, finite and absurd: for every method they cost only the device that sends them."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import method_over, prepared_for, small_config
from test_nonsense import VILLAIN, Corrupted, learned, replaced

from ecofed.activations.statistics import triangle_size
from ecofed.config.methods import METHODS
from ecofed.methods.plausible import LARGEST_WEIGHT, MAX_SAMPLES, SampleCounts
from ecofed.runs import experiment
from ecofed.wire import Failure, Images, Message, SplitBatch, Statistics, Upload, decode, encode
from slowly import quick

Change = Callable[[Message], bytes]


def all_numbers(value: float, *only: str) -> Change:
    """Every float that the message holds, in weights, activations, sums and scales, is this one."""

    def change(message: Message) -> bytes:
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(message):
            old = getattr(message, field.name)
            if only and field.name not in only:
                continue
            if isinstance(old, dict):
                changes[field.name] = {name: np.full_like(array, value) for name, array in old.items()}
            elif isinstance(old, np.ndarray) and old.dtype == np.float32:
                changes[field.name] = np.full_like(old, value)
            elif field.name == "codes" and not message.scales.size:  # type: ignore[attr-defined]
                changes[field.name] = np.full(len(old) // 4, value, "<f4").tobytes()
        return replaced(message, **changes)

    return change


def saying(**changes: object) -> Change:
    return lambda message: replaced(message, **changes)


def repeated(message: Message) -> bytes:
    """Everything that has one entry a sample has two."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(message):
        old = getattr(message, field.name)
        if isinstance(old, np.ndarray) and field.name[-2:] in ("_N", "CHW", "HW", "NK"):
            changes[field.name] = np.concatenate([old, old])
        elif field.name in ("codes", "bodies"):
            changes[field.name] = old + old
        elif field.name == "samples":
            changes[field.name] = 2 * old
    return replaced(message, **changes)


def no_sums(message: Message) -> bytes:
    return all_numbers(0.0)(message) if isinstance(message, Statistics) else encode(message).data


def impossible_sums(message: Message) -> bytes:
    """Two features that go together more closely than each with itself."""
    if not isinstance(message, Statistics):
        return encode(message).data
    gram = message.gram.copy()
    gram[1] = 10 * gram[0] + 10
    return replaced(message, gram=gram)


def negative_classes(message: Message) -> bytes:
    if not isinstance(message, Statistics):
        return encode(message).data
    cross_DK = message.cross_DK.copy()
    cross_DK[-1] += np.array([9, -9, 0, 0], np.float32)
    return replaced(message, cross_DK=cross_DK)


FLOAT32 = {"codec__name": "float32"}
MINMAX = {"codec__name": "minmax", "codec__bits": 8}
BOAST = 2**32 - 1
CASES: dict[str, tuple[str, Change, dict[str, Any], str]] = {
    "weights": ("classic-fl", all_numbers(3e38), {}, "weights"),
    "weights a little too large": ("classic-fl", all_numbers(-1.01 * LARGEST_WEIGHT), {}, "weights"),
    "one array of weights": ("lgl", all_numbers(1e9, "auxiliary"), {}, "weights"),
    "weights of a front": ("vanilla-dpfl", all_numbers(3e38, "front"), {}, "weights"),
    "weights of fedgkt": ("fedgkt", all_numbers(3e38, "front"), {}, "weights"),
    "activations of a batch": ("vanilla-dpfl", all_numbers(3e38, "activation_BCHW"), {}, "activations"),
    "activations of lgl": ("lgl", all_numbers(-7e4, "activation_NCHW"), {}, "activations"),
    "activations of fedgkt": ("fedgkt", all_numbers(1e30, "activation_NCHW"), {}, "activations"),
    "logits": ("fedgkt", all_numbers(3e38, "logits_NK"), {}, "logits"),
    "activations of ecofed": ("ecofed", all_numbers(3e38), FLOAT32, "activations above"),
    "activations that no front makes": ("ecofed", all_numbers(60000), FLOAT32, "activations above"),
    "scales that no float can hold 128 times": (
        "ecofed",
        all_numbers(3e38, "scales"),
        MINMAX,
        "activations could be above",
    ),
    "scales": ("ecofed", all_numbers(400, "scales"), MINMAX, "activations could be above"),
    "sums": ("closed-form", all_numbers(3e38), {}, "sums over"),
    "no sums": ("closed-form", no_sums, {}, "sums over 0 samples"),
    "sums that no samples have": ("closed-form", impossible_sums, {}, "sums that no"),
    "fewer than no samples of a class": ("closed-form", negative_classes, {}, "sums over"),
    "loss": ("classic-fl", saying(loss=3e38), {}, "a loss of 3e+38"),
    "loss below zero": ("lgl", saying(loss=-5.0), {}, "a loss of -5"),
    "samples": ("classic-fl", saying(samples=BOAST), {}, f"more than {MAX_SAMPLES}"),
    "samples of vanilla": ("vanilla-dpfl", saying(samples=BOAST), {}, f"more than {MAX_SAMPLES}"),
    "samples that were not sent": ("vanilla-dpfl", saying(samples=9), {}, "says that it has 9 samples, and sent"),
    "samples of closed-form": ("closed-form", saying(samples=BOAST), {}, f"more than {MAX_SAMPLES}"),
    "other samples of closed-form": ("closed-form", saying(samples=1000), {}, "said to be of 1000"),
    "samples of ecofed": ("ecofed", saying(samples=BOAST), {}, "samples need"),
    "scales of nothing": ("ecofed", saying(scales=np.ones(100_000, np.float32)), {}, "100000 scales"),
    "labels of nothing": ("ecofed", saying(labels_N=np.ones(100_000, np.uint8)), {}, "100000 labels"),
}


@contextmanager
def limited(seconds: float = 1.0, mebibytes: float = 64) -> Iterator[None]:
    """What is done here takes no longer, and no more memory."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        took, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < seconds
    assert peak < mebibytes * 2**20


@pytest.mark.parametrize("case", CASES)
def test_it_costs_only_who_says_it(case: str, pictures: Path) -> None:
    """The others' round is what it would have been had only they been asked."""
    method_name, change, changes, told = CASES[case]
    config = small_config(pictures, method_name, sampled_devices=4, quorum=0.5, **changes)
    with method_over(Corrupted(prepared_for(config).worker, change), prepared_for(config)) as method:
        method.channel.start_round()
        method.train_round(1, [0, 1, 2, 3])
        (note,) = method.channel.notes
        disturbed = learned(method)
    assert note.startswith(f"device {VILLAIN}: ")
    assert told in note
    assert note.endswith("left out of this round")
    with method_over(Corrupted(prepared_for(config).worker, None), prepared_for(config)) as method:
        method.channel.start_round()
        method.train_round(1, [0, 1, 3])
        expected = learned(method)
    assert disturbed.keys() == expected.keys()
    for key, array in disturbed.items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)


@pytest.mark.parametrize(
    ("method_name", "change"),
    [
        *((name, all_numbers(3e38)) for name in ("classic-fl", "vanilla-dpfl", "lgl", "fedgkt", "closed-form")),
        ("ecofed", saying(samples=BOAST)),
        ("send-images", saying(bodies=b"")),
    ],
)
def test_the_run_goes_on_and_ends_with_a_finite_result(method_name: str, change: Change, pictures: Path) -> None:
    config = small_config(pictures, method_name, sampled_devices=4, quorum=0.5, rounds=2, ecofed__refresh="once")
    result = experiment.run(config, connect=lambda prepared: Corrupted(prepared.worker, change))
    assert len(result.rounds) == 2
    for record in result.rounds:
        assert [note.split(":")[0] for note in record.notes] == [f"device {VILLAIN}"]
        assert np.isfinite([record.test_loss, record.test_accuracy]).all()


@pytest.mark.parametrize("method_name", METHODS)
def test_a_device_that_refuses_alone_does_not_end_the_run(method_name: str, pictures: Path) -> None:
    """From round 2 on it may be the only one that still has to be asked."""
    change = lambda _: encode(Failure(reason="the disk is full")).data  # noqa: E731
    config = small_config(pictures, method_name, sampled_devices=4, quorum=0.5, rounds=5, ecofed__refresh="once")
    result = experiment.run(config, connect=lambda prepared: Corrupted(prepared.worker, change))
    assert [len(record.notes) for record in result.rounds] == [1] * 5
    if method_name != "closed-form":
        assert all(record.train_loss is not None for record in result.rounds)


@pytest.mark.parametrize("method_name", ["classic-fl", "vanilla-dpfl", "lgl", "fedgkt", "ecofed"])
def test_a_device_has_as_many_samples_as_it_said_first(method_name: str, pictures: Path) -> None:
    once_more = saying(samples=13) if method_name == "classic-fl" else repeated
    config = small_config(pictures, method_name, sampled_devices=4, quorum=0.5, ecofed__period=1)
    with method_over(corrupted := Corrupted(prepared_for(config).worker, None), prepared_for(config)) as method:
        for round_ in (1, 2):
            corrupted.change = None if round_ == 1 else once_more
            method.channel.start_round()
            method.train_round(round_, [0, 1, 2, 3])
        assert [note.split(":")[0] for note in method.channel.notes] == [f"device {VILLAIN}"]
        if method_name == "ecofed":
            assert method.channel.notes[0].startswith("device 2: 16 samples where this device has 8")
        arrays, values = method.state()
    assert method_name == "ecofed" or values["samples"] == {"0": 8, "1": 8, "2": 8, "3": 8}
    with method_over(Corrupted(prepared_for(config).worker, once_more), prepared_for(config)) as method:
        method.load_state(arrays, json.loads(json.dumps(values)))  # and after a resume
        method.channel.start_round()
        method.train_round(3, [0, 1, 2, 3])
        assert [note.split(":")[0] for note in method.channel.notes] == [f"device {VILLAIN}"]


@pytest.mark.parametrize("method_name", ["classic-fl", "vanilla-dpfl", "lgl", "fedgkt", "ecofed", "closed-form"])
def test_where_the_server_divided_the_data_it_knows_from_the_start(method_name: str, pictures: Path) -> None:
    config = small_config(pictures, method_name, sampled_devices=4, quorum=0.5)
    prepared = prepared_for(config)
    with method_over(Corrupted(prepared.worker, None), prepared) as method:
        method.counts = SampleCounts([8, 8, 9, 8])
        method.channel.start_round()
        method.train_round(1, [0, 1, 2, 3])
        assert len(method.channel.notes) == 1
        assert method.channel.notes[0].startswith("device 2: ")
        assert "8 samples where this device has 9" in method.channel.notes[0]


# --- little that claims to be much ---

#: What the server may spend on one lie, beyond the round of devices that tell the truth.
LIE_SECONDS = 0.5
UPLOADS: dict[str, Any] = {"sampled_devices": 4, "quorum": 0.5, "codec__entropy": "range"}


@pytest.fixture(scope="module")
def honest_seconds(pictures: Path) -> float:
    """Processor time of the same round without the lie, measured in the same way: machines differ."""
    config = small_config(pictures, "ecofed", **UPLOADS)
    with method_over(Corrupted(prepared_for(config).worker, None), prepared_for(config)) as method:
        method.channel.start_round()
        tracemalloc.start()
        started = time.process_time()
        method.train_round(1, [0, 1, 2, 3])
        took = time.process_time() - started
        tracemalloc.stop()
    assert not method.channel.notes
    return took


@pytest.mark.parametrize("samples", quick([MAX_SAMPLES, 1 << 20, 100_000, 3000], MAX_SAMPLES))
@pytest.mark.parametrize("codes", [b"\x02", b"\x02" + bytes(64), b"\x01" + bytes(9), b"\x00", b""])
def test_a_few_bytes_are_no_upload_of_many_samples(
    samples: int, codes: bytes, pictures: Path, honest_seconds: float
) -> None:
    config = small_config(pictures, "ecofed", **UPLOADS)

    def claim(message: Message) -> bytes:
        if not isinstance(message, Upload):
            return encode(message).data
        return replaced(message, samples=samples, codes=codes, labels_N=np.zeros(samples, np.uint8))

    with method_over(Corrupted(prepared_for(config).worker, claim), prepared_for(config)) as method:
        method.channel.start_round()
        with limited(2 * honest_seconds + LIE_SECONDS):
            method.train_round(1, [0, 1, 2, 3])
        assert [note.split(":")[0] for note in method.channel.notes] == [f"device {VILLAIN}"]


def jpeg(size: tuple[int, int] = (32, 32), said: tuple[int, int] | None = None, **options: Any) -> bytes:
    """A picture whose header may say another width and height."""
    buffer = io.BytesIO()
    Image.new("L", size).save(buffer, "JPEG", **options)
    data = buffer.getvalue()
    at = data.index(b"\xff\xc0" if "progressive" not in options else b"\xff\xc2") + 5
    width, height = said or size
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def of_images(header: bytes, bodies: list[bytes]) -> Change:
    lengths_N = np.array([len(body) for body in bodies], np.uint16)
    labels_N = np.zeros(len(bodies), np.uint8)
    return lambda message: (
        replaced(message, header=header, bodies=b"".join(bodies), lengths_N=lengths_N, labels_N=labels_N)
        if isinstance(message, Images)
        else encode(message).data
    )


def many_scans() -> bytes:
    whole = jpeg(progressive=True)
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + scan * 500 + whole[-2:]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (of_images(jpeg(), [b""] * 20_000), "20000 images in"),
        (of_images(jpeg() + bytes(60_000), [b""] * 200), "200 images in"),
        (of_images(jpeg(said=(4000, 4000)), [b""]), "4000x4000 pixels"),
        (of_images(jpeg((30, 32)), [b""] * 8), "30x32 pixels, not 32x32"),
        (of_images(many_scans(), [b""] * 8), "many scans"),
        (saying(labels_N=np.zeros(5, np.uint8)), "5 labels for 8 images"),
        (saying(lengths_N=np.zeros(400_000, np.uint16)), "400000 images"),
    ],
)
def test_a_few_bytes_are_not_many_images(change: Change, told: str, pictures: Path) -> None:
    config = small_config(pictures, "send-images", sampled_devices=4, quorum=0.5)
    with method_over(Corrupted(prepared_for(config).worker, change), prepared_for(config)) as method:
        method.channel.start_round()
        with limited():
            method.train_round(1, [0, 1, 2, 3])
        (note,) = method.channel.notes
        assert told in note


def test_a_refused_device_does_not_decide_the_size_of_images(pictures: Path) -> None:
    """It answers first, with images of another size, and is refused for its labels; and one that is not refused."""
    config = small_config(pictures, "send-images", sampled_devices=4, quorum=0.5)
    for labels_N in (np.full(8, 99, np.uint8), np.zeros(8, np.uint8)):
        small = of_images(jpeg((28, 28)), [b""] * 8)

        def change(message: Message, small: Change = small, labels_N: np.ndarray = labels_N) -> bytes:
            return replaced(decode(small(message))[0], labels_N=labels_N)

        with method_over(Corrupted(prepared_for(config).worker, change), prepared_for(config)) as method:
            method.channel.start_round()
            method.train_round(1, [VILLAIN, 3, 0, 1])
            assert [note.split(":")[0] for note in method.channel.notes] == [f"device {VILLAIN}"]
            assert method.buffer.devices == [0, 1, 3]  # type: ignore[attr-defined]


def test_batches_without_end(pictures: Path) -> None:
    """A device that never says that it is done is stopped at the most samples that it can have."""
    config = small_config(pictures, "vanilla-dpfl", sampled_devices=4, quorum=0.5)
    prepared = prepared_for(config)
    last: list[SplitBatch] = []

    def another(message: Message) -> bytes:
        if isinstance(message, SplitBatch):
            last[:] = [message]
            return encode(message).data
        last[:] = [dataclasses.replace(last[0], step=last[0].step + 1)]
        return encode(last[0]).data

    corrupted = Corrupted(prepared.worker, another)
    with method_over(corrupted, prepared) as method:
        method.counts = SampleCounts([8] * 4)
        method.channel.start_round()
        method.train_round(1, [0, 1, 2, 3])
        assert method.channel.notes == [
            "device 2: a batch of 4 samples, 12 with those before it; left out of this round"
        ]


def test_sums_are_those_of_real_samples() -> None:
    from ecofed.activations.statistics import check_sums

    draw = np.random.default_rng(0)
    for samples, width in ((1, 5), (7, 30), (500, 30)):
        features = np.concatenate([draw.random((samples, width)) * 100, np.ones((samples, 1))], axis=1)
        targets = np.eye(10)[draw.integers(0, 10, samples)]
        gram = (features.T @ features).astype(np.float32).astype(np.float64)
        check_sums(gram, (features.T @ targets).astype(np.float32).astype(np.float64), samples, 100)
        assert triangle_size(len(gram)) == len(gram) * (len(gram) + 1) // 2
    check_sums(np.zeros((4, 4)), np.zeros((4, 10)), 0, 100)
