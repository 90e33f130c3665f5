"""Bytes from anywhere: a message, or one WireError; never anything else, never much memory."""

from __future__ import annotations

import math
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from samples import any_message

from ecofed.errors import WireError
from ecofed.wire import HEADER_BYTES, MAX_MESSAGE_BYTES, Acknowledge, Refresh, TrainWhole, Upload, decode, encode
from ecofed.wire.fields import MAX_ARRAY_BYTES, MAX_TENSORS_HEADER_BYTES, read_tensors
from ecofed.wire.messages import REGISTRY


def framed(number: int, payload: bytes) -> bytes:
    """A payload under a header that is right about it, as an attacker would send it."""
    return struct.pack("<4sBBHQI", b"EcoF", 1, number, 0, len(payload), zlib.crc32(payload)) + payload


def accepts(data: bytes) -> bool:
    """Whether it is a message; anything but a WireError is a failure of the test."""
    try:
        decode(data)
    except WireError as error:
        told = str(error)
    else:
        return True
    assert "\n" not in told
    assert len(told) < 1000
    return False


@settings(max_examples=200)
@given(data=st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    assert not accepts(data)


@settings(max_examples=300)
@given(number=st.sampled_from(sorted(REGISTRY)), payload=st.binary(max_size=200))
def test_random_payloads_under_a_valid_header(number: int, payload: bytes) -> None:
    accepts(framed(number, payload))


@settings(max_examples=200)
@given(message=any_message, data=st.data())
def test_truncated(message: object, data: st.DataObject) -> None:
    whole = encode(message).data  # type: ignore[arg-type]
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert not accepts(cut)
    if len(cut) > HEADER_BYTES:
        # Even with a header that was made to fit: fields end early.
        assert not accepts(framed(whole[5], cut[HEADER_BYTES:]))


@settings(max_examples=200)
@given(message=any_message, extra=st.binary(min_size=1, max_size=40))
def test_extended(message: object, extra: bytes) -> None:
    whole = encode(message).data  # type: ignore[arg-type]
    assert not accepts(whole + extra)
    assert not accepts(framed(whole[5], whole[HEADER_BYTES:] + extra))


@settings(max_examples=300)
@given(message=any_message, data=st.data())
def test_flipped_bits(message: object, data: st.DataObject) -> None:
    damaged = bytearray(encode(message).data)  # type: ignore[arg-type]
    bit = data.draw(st.integers(0, 8 * len(damaged) - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    # A flip in the message number can make a valid message of another kind with the same payload.
    assume(bit // 8 != 5)
    assert not accepts(bytes(damaged))


@settings(max_examples=300)
@given(message=any_message, data=st.data())
def test_mutated_payloads_with_a_checksum_that_fits(message: object, data: st.DataObject) -> None:
    whole = encode(message).data  # type: ignore[arg-type]
    payload = bytearray(whole[HEADER_BYTES:])
    assume(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    accepts(framed(whole[5], bytes(payload)))


def upload(**changes: bytes) -> bytes:
    """An Upload's payload, field by field, so that single fields can be replaced."""
    fields = {
        "round": struct.pack("<I", 1),
        "view": struct.pack("<I", 0),
        "front_id": struct.pack("<H", 4) + b"abcd",
        "samples": struct.pack("<I", 2),
        "saturated_fraction": struct.pack("<f", 0.5),
        "codes": struct.pack("<Q", 6) + bytes(6),
        "scales": struct.pack("<BBI", 1, 1, 1) + struct.pack("<f", 1.0),
        "labels_N": struct.pack("<BBI", 2, 1, 2) + bytes(2),
    }
    return framed(Upload.number, b"".join((fields | changes).values()))


def test_the_untouched_upload_is_fine() -> None:
    assert accepts(upload())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (upload(saturated_fraction=struct.pack("<f", math.nan)), "not finite"),
        (upload(codes=struct.pack("<Q", 2**63)), "exceed the limit"),
        (upload(codes=struct.pack("<Q", MAX_ARRAY_BYTES)), "ends early"),
        (upload(scales=struct.pack("<BBI", 1, 1, 2**32 - 1)), "exceeds the limit"),
        (upload(scales=struct.pack("<BBI", 1, 1, 2**27)), "ends early"),
        (upload(scales=struct.pack("<BB4I", 1, 4, *[2**32 - 1] * 4)), "exceeds the limit"),
        (upload(scales=struct.pack("<BB4I", 1, 4, 2**32 - 1, 2**32 - 1, 2**32 - 1, 0)), "is impossible"),
        (upload(scales=struct.pack("<BB", 1, 255)), "rank 255 is not allowed"),
        (upload(scales=struct.pack("<BBI", 9, 1, 1) + bytes(8)), "element code 9"),
        (upload(scales=struct.pack("<BBIf", 1, 1, 1, math.inf)), "non-finite"),
        (upload(scales=struct.pack("<BBI", 5, 1, 1) + b"\1"), "int8 where f4 is allowed"),
        (upload(labels_N=struct.pack("<BBIf", 1, 1, 1, 1.0)), "float32 where u1/u2/u4"),
        (upload(front_id=struct.pack("<H", 65) + bytes(65)), "exceeds 64"),
    ],
)
def test_fields_that_lie(data: bytes, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        decode(data)


def test_a_flag_is_nothing_but_0_or_1() -> None:
    data = encode(Refresh(round=1, view=0, front_id="a", want_labels=True)).data
    with pytest.raises(WireError, match="neither 0 nor 1"):
        decode(framed(Refresh.number, data[HEADER_BYTES:-1] + b"\x02"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda h: b"HTTP" + h[4:], "wrong magic"),
        (lambda h: h[:4] + b"\x02" + h[5:], "protocol version 2; this program speaks 1"),
        (lambda h: h[:5] + b"\xff" + h[6:], "unknown message number 255"),
        (lambda h: h[:6] + b"\x01\x00" + h[8:], "unknown message number"),
        (lambda h: h[:8] + struct.pack("<Q", MAX_MESSAGE_BYTES + 1) + h[16:], "exceeds the limit"),
        (lambda h: h[:8] + b"\xff" * 8 + h[16:], "exceeds the limit"),
        (lambda h: h[:16] + b"\0\0\0\0" + h[20:], "checksum mismatch"),
        (lambda h: h[:12], "header of 12 bytes"),
        (lambda _: b"", "header of 0 bytes"),
    ],
)
def test_headers_that_lie(change: Callable[[bytes], bytes], problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        decode(change(encode(Acknowledge(round=1)).data))


def test_lengths_that_are_only_claimed_take_no_memory() -> None:
    bombs = [
        upload(codes=struct.pack("<Q", MAX_ARRAY_BYTES)),
        upload(scales=struct.pack("<BBI", 1, 1, 2**27)),
        framed(TrainWhole.number, struct.pack("<IQ", 1, MAX_ARRAY_BYTES)),
        framed(TrainWhole.number, struct.pack("<IQQ", 1, 16, MAX_TENSORS_HEADER_BYTES) + bytes(8)),
        encode(Acknowledge(round=1)).data[:8] + struct.pack("<QI", MAX_MESSAGE_BYTES, 0),
    ]
    tracemalloc.start()
    try:
        for bomb in bombs:
            assert not accepts(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def tensors(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        tensors(b"not json"),
        tensors(b"[]"),
        tensors(b'{"a": 1}'),
        tensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'),
        tensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', bytes(4)),
        tensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}', bytes(4)),
        tensors(b'{"a": {"dtype": "F32", "shape": [18446744073709551615, 2], "data_offsets": [0, 4]}}', bytes(4)),
        tensors(b'{"a": {"dtype": "X99", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
        tensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', struct.pack("<f", math.nan)),
        tensors(b'{"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}', bytes(4)),
        tensors(b'{"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}', bytes(4)),
        tensors(b"{" * 5000),
    ],
)
def test_malformed_tensors(data: bytes) -> None:
    try:
        arrays = read_tensors(data)
    except WireError:
        return
    # What the library reads although it is unusual must still be finite numbers, and is no float32 weight.
    assert all(array.dtype != np.float32 for array in arrays.values())


@settings(max_examples=200)
@given(data=st.data())
def test_mutated_tensors(data: st.DataObject) -> None:
    whole = encode(TrainWhole(round=1, weights={"a.b": np.ones((2, 2), np.float32), "c": np.ones(3, np.float32)})).data
    payload = bytearray(whole[HEADER_BYTES + 12 :])
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    accepts(framed(TrainWhole.number, struct.pack("<IQ", 1, len(payload)) + bytes(payload)))
