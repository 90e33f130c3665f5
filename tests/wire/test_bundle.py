"""Front bundles: the same bytes each time, an id that means something, and nothing malformed gets in."""

from __future__ import annotations

import dataclasses
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as save_tensors

from ecofed.errors import ConfigError, EcoFedError, WireError
from ecofed.wire import FrontBundle, packing
from ecofed.wire.fields import read_tensors
from ecofed.wire.sizes import bundle_size


def bundle(**changes: Any) -> FrontBundle:
    values: dict[str, Any] = {
        "model": "lenet",
        "width": 1.0,
        "cut": "pool1",
        "in_channels": 1,
        "mean": (0.5,),
        "std": (0.25,),
        "activation_shape": (2, 4, 4),
        "weights": {"conv.weight": np.ones((2, 1, 3, 3), np.float32), "conv.bias": np.zeros(2, np.float32)},
        "upper": {bits: np.full(2, 0.5 * bits, np.float32) for bits in (4, 8)},
        "card": {"origin": "a test"},
    }
    return FrontBundle(**values | changes)


def test_a_bundle_survives_and_is_the_same_bytes_each_time() -> None:
    first = bundle()
    decoded = FrontBundle.decode(first.encode())
    assert decoded.encode() == first.encode() == bundle().encode()
    assert decoded.id == first.id
    assert len(first.id) == 32
    np.testing.assert_array_equal(decoded.upper[4], first.upper[4])
    assert decoded.card == {"origin": "a test"}


def test_the_id_follows_what_decides_codes_and_nothing_else() -> None:
    first = bundle()
    assert bundle(card={"origin": "elsewhere"}).id == first.id
    other_weights = dict(first.weights) | {"conv.bias": np.full(2, 1e-7, np.float32)}
    others = [
        bundle(weights=other_weights),
        bundle(upper={4: first.upper[4], 8: np.full(2, 9, np.float32)}),
        bundle(mean=(0.4,)),
        bundle(cut="pool2"),
    ]
    assert len({first.id, *(other.id for other in others)}) == 5


def test_a_device_gets_what_it_needs_only() -> None:
    delivered = bundle(expansion={"conv.weight": np.ones((4, 2, 1, 1), np.float32)}).for_device(4)
    assert list(delivered.upper) == [4]
    assert not delivered.expansion
    assert not delivered.card
    with pytest.raises(ConfigError, match=r"codec\.bits = 3: .*\[4, 8\]"):
        bundle().for_device(3)


def described(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The bundle's bytes with another description."""
    data = bundle().encode()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    description = json.loads(header["__metadata__"]["ecofed"])
    change(description)
    header["__metadata__"]["ecofed"] = json.dumps(description)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def with_tensors(tensors: dict[str, np.ndarray]) -> bytes:
    """The bundle's bytes with more tensors, or others of their names."""
    data = bundle().encode()
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    return save_tensors(read_tensors(data) | tensors, metadata=metadata)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bundle().encode()[:-1],
        bundle().encode() + b"\0",
        described(lambda d: d.pop("model")),
        described(lambda d: d.update(width="wide")),
        described(lambda d: d.update(activation_shape=[2, 4])),
        described(lambda d: d.update(activation_shape=[3, 4, 4])),
        described(lambda d: d.update(activation_shape=[2, -4, 4])),
        described(lambda d: d.update(activation_shape=[2, 4, 2**40])),
        described(lambda d: d.update(activation_shape=[2, 4, float("inf")])),
        described(lambda d: d.update(activation_shape=[2, 4, 4, 4])),
        described(lambda d: d.update(activation_shape=[2, 4, 4.5])),
        described(lambda d: d.update(input_size=float("inf"))),
        described(lambda d: d.update(input_size=10**9)),
        described(lambda d: d.update(in_channels=float("nan"))),
        described(lambda d: d.update(width=10**400)),
        described(lambda d: d.update(width=-1)),
        described(lambda d: d.update(mean=[10**400])),
        described(lambda d: d.update(mean="0")),
        described(lambda d: d.update(model=None)),
        described(lambda d: d.update(card={"epochs": float("inf")})),
        described(lambda d: d.update(card={"deep": nested(900)})),
        described(lambda d: d.update(stranger=1)),
        described(lambda d: d.update(mean=[])),
        described(lambda d: d.update(mean=["nan"])),
        described(lambda d: d.update(std=[0.0])),
        described(lambda d: d.update(std=[float("inf")])),
        described(lambda d: d.update(in_channels=3)),
        described(lambda d: d.update(card=[1, 2])),
        described(lambda d: d.clear()),
        bundle(upper={4: np.zeros(2, np.float32)}).encode(),
        bundle(upper={9: np.ones(2, np.float32)}).encode(),
        bundle(upper={4: np.ones(3, np.float32)}).encode(),
        with_tensors({"elsewhere.weight": np.ones(2, np.float32)}),
        with_tensors({"front.count": np.ones(2, np.int64)}),
        with_tensors({"front.large": np.full(2, 1e300)}),
        with_tensors({"upper.+4": np.ones(2, np.float32)}),
        with_tensors({"scale.conv.weight": np.ones(3, np.float32)}),
        with_tensors({"scale.missing": np.ones(2, np.float32)}),
        with_tensors(
            {"scale.conv.weight": np.full(2, 3e38, np.float32), "front.conv.weight": np.full((2, 1, 3, 3), 9, "i1")}
        ),
    ],
)
def test_malformed_bundles(data: bytes) -> None:
    with pytest.raises(WireError) as error:
        FrontBundle.decode(data)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_scale_cannot_stretch_a_weight() -> None:
    """7 kB that would be 4 GB: a broadcast of two tensors that do not belong together."""
    data = with_tensors(
        {"front.conv.weight": np.ones((1, 1, 1, 1000), np.int8), "scale.conv.weight": np.ones(1_000_000, np.float32)}
    )
    tracemalloc.start()
    try:
        with pytest.raises(WireError, match="fits no weight"):
            FrontBundle.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_non_finite_weights_are_refused() -> None:
    poisoned = bundle(weights={"conv.weight": np.full((2, 1, 3, 3), np.nan, np.float32)})
    with pytest.raises(WireError, match="non-finite"):
        FrontBundle.decode(poisoned.encode())


@settings(max_examples=300)
@given(data=st.data())
def test_mutated_bundles(data: st.DataObject) -> None:
    whole = bytearray(bundle().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        decoded = FrontBundle.decode(bytes(whole))
    except WireError:
        return
    assert dataclasses.replace(decoded).id == decoded.id


def test_a_file_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    missing, broken = tmp_path / "missing.safetensors", tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing of the kind")
    for place in (missing, broken):
        with pytest.raises(EcoFedError, match=place.name):
            FrontBundle.load(place)
    bundle().save(tmp_path / "fine.safetensors")
    assert FrontBundle.load(tmp_path / "fine.safetensors").id == bundle().id


def test_int8_weights_are_half_a_step_off_at_most_and_travel_as_codes() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 5, 3, 3)).astype(np.float32)
    weight[4] = 0
    plain = bundle(weights={"conv.weight": weight, "conv.bias": np.ones(6, np.float32)})
    rounded = plain.with_int8_weights()
    step = np.abs(weight).reshape(6, -1).max(axis=1).reshape(-1, 1, 1, 1) / 127
    assert (np.abs(rounded.weights["conv.weight"] - weight) <= 0.501 * step).all()
    assert rounded.id != plain.id
    decoded = FrontBundle.decode(rounded.encode())
    assert decoded.int8
    np.testing.assert_array_equal(decoded.weights["conv.weight"], rounded.weights["conv.weight"])
    assert decoded.encode() == rounded.encode()
    assert decoded.with_int8_weights().id == decoded.id == rounded.id
    assert bundle_size(rounded) == len(rounded.encode()) < len(plain.encode()) - 2 * weight.size


@given(st.integers(0, 99), st.floats(1e-30, 1e30))
def test_int8_weights_are_rounded_once_for_all(seed: int, size: float) -> None:
    weight = (np.random.default_rng(seed).normal(size=(3, 2, 3, 3)) * size).astype(np.float32)
    once = bundle(weights={"conv.weight": weight}).with_int8_weights()
    twice = once.with_int8_weights()
    np.testing.assert_array_equal(once.weights["conv.weight"], twice.weights["conv.weight"])
    assert FrontBundle.decode(once.encode()).encode() == once.encode()


def test_a_packed_bundle_arrives_and_its_id_does_not_depend_on_the_compression() -> None:
    plain = bundle(
        weights={"conv.weight": np.ones((64, 1, 3, 3), np.float32), "conv.bias": np.full(64, 1 / 3, np.float32)}
    )
    sent = dataclasses.replace(plain, packed=True)
    received = FrontBundle.decode(sent.encode())
    assert len(sent.encode()) < len(plain.encode()) / 2
    assert received.packed
    assert received.id == sent.id != plain.id
    np.testing.assert_array_equal(received.weights["conv.bias"], plain.weights["conv.bias"])
    assert FrontBundle.decode(packing.unpack(sent.encode())).id == sent.id


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda sent: sent[:-3], "end too early or too late"),
        (lambda sent: sent + b"more", "end too early or too late"),
        (lambda sent: sent[:4] + b"not deflate", "cannot be decompressed"),
        (lambda sent: sent[:4], "end too early or too late"),
        (lambda _: packing.pack(b"nothing of the kind"), "header length is impossible"),
        (lambda sent: packing.pack(sent), "header length is impossible"),
    ],
)
def test_damage_to_a_packed_bundle_is_one_error(damage: Callable[[bytes], bytes], told: str) -> None:
    sent = dataclasses.replace(bundle(), packed=True).encode()
    with pytest.raises(WireError, match=told):
        FrontBundle.decode(damage(sent))


def test_a_packed_bundle_that_grows_without_end_is_stopped() -> None:
    with pytest.raises(WireError, match="more than 1,000 bytes"):
        packing.unpack(packing.pack(bytes(1_000_000)), limit=1000)
    assert packing.unpack(packing.pack(bytes(1000)), limit=1000) == bytes(1000)
