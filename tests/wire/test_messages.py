"""Messages to bytes and back, the header's layout, and what the ledger is told."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import messages_of

from ecofed.errors import WireError
from ecofed.results import LEDGER_KINDS
from ecofed.wire import (
    HEADER_BYTES,
    Acknowledge,
    Distilled,
    Failure,
    InstallFront,
    Refresh,
    SplitBatch,
    TrainWhole,
    Upload,
    decode,
    encode,
    payload_length,
)
from ecofed.wire import messages as wire_messages
from ecofed.wire.messages import REGISTRY, Message, label_dtype, schema


def equal(first: Message, second: Message) -> bool:
    """Field by field; arrays by type, shape and bytes."""
    if type(first) is not type(second):
        return False
    for field in dataclasses.fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        if isinstance(one, np.ndarray):
            if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
                return False
        elif isinstance(one, dict):
            if one.keys() != other.keys() or any(not np.array_equal(one[key], other[key]) for key in one):
                return False
        elif one != other:
            return False
    return True


@pytest.mark.parametrize("cls", REGISTRY.values(), ids=lambda cls: cls.__name__)
@settings(max_examples=25)
@given(data=st.data())
def test_every_message_survives_the_wire(cls: type[Message], data: st.DataObject) -> None:
    message = data.draw(messages_of(cls))
    encoded = encode(message)
    decoded, by_kind = decode(encoded.data)
    assert equal(decoded, message)
    assert by_kind == encoded.by_kind
    assert sum(by_kind.values()) == len(encoded.data)
    assert set(by_kind) <= set(LEDGER_KINDS)
    assert by_kind["control"] >= HEADER_BYTES
    assert payload_length(encoded.data[:HEADER_BYTES]) == len(encoded.data) - HEADER_BYTES
    assert encode(decoded).data == encoded.data


def test_the_header_is_laid_out_as_the_documentation_says() -> None:
    data = encode(Acknowledge(round=7)).data
    magic, version, number, reserved, length, checksum = struct.unpack("<4sBBHQI", data[:20])
    assert (magic, version, number, reserved, length) == (b"EcoF", 1, 2, 0, 4)
    assert checksum == zlib.crc32(data[20:])
    assert data[20:] == struct.pack("<I", 7)
    assert HEADER_BYTES == 20


def test_numbers_identify_messages_for_good() -> None:
    """A number that changes its meaning is another protocol: raise VERSION."""
    assert {cls.__name__: number for number, cls in REGISTRY.items() if number < 60} == {
        "Failure": 1,
        "Acknowledge": 2,
        "TrainWhole": 10,
        "TrainedWhole": 11,
        "StartSplit": 20,
        "SplitBatch": 21,
        "ApplyGradient": 22,
        "FrontTrained": 23,
        "TrainLocally": 30,
        "LocallyTrained": 31,
        "TrainDistilled": 40,
        "Distilled": 41,
        "ServerLogits": 42,
        "InstallFront": 50,
        "FrontInstalled": 51,
        "Refresh": 52,
        "Upload": 53,
        "RefreshNew": 54,
    }
    assert all(cls.number == number for number, cls in REGISTRY.items())


def test_content_is_counted_by_kind_and_the_rest_is_control() -> None:
    upload = Upload(
        round=1,
        view=0,
        front_id="f" * 32,
        samples=3,
        saturated_fraction=0.0,
        codes=bytes(300),
        scales=np.ones(2, np.float32),
        labels_N=np.zeros(3, np.uint8),
    )
    encoded = encode(upload)
    assert encoded.by_kind == {"activations": 308, "labels": 3, "control": len(encoded.data) - 311}
    front = encode(InstallFront(bundle=bytes(1000)))
    assert front.by_kind == {"front": 1000, "control": 28}
    weights = encode(TrainWhole(round=1, weights={"a": np.zeros((2, 3), np.float32)}))
    assert weights.by_kind["weights"] == 24


@pytest.mark.parametrize(("classes", "dtype"), [(2, "u1"), (256, "u1"), (257, "u2"), (65536, "u2"), (65537, "u4")])
def test_labels_are_the_smallest_integers_that_hold_the_classes(classes: int, dtype: str) -> None:
    assert label_dtype(classes) == np.dtype(dtype)


def split_batch(activation: np.ndarray, labels: np.ndarray | None = None) -> SplitBatch:
    return SplitBatch(
        round=1, step=0, activation_BCHW=activation, labels_B=np.zeros(1, np.uint8) if labels is None else labels
    )


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (split_batch(np.full((1, 1, 1, 1), np.nan, np.float32)), r"SplitBatch\.activation_BCHW: .*non-finite"),
        (split_batch(np.full((1, 1, 1, 1), np.inf, np.float32)), "non-finite"),
        (split_batch(np.zeros((1, 1, 1, 1))), "float64 where f4 is allowed"),
        (split_batch(np.zeros((1, 1, 1, 1), np.float32), np.zeros(1, np.int64)), "int64 where u1/u2/u4 is allowed"),
        (split_batch(np.zeros((1, 1, 1, 1), np.float32), np.zeros((1, 1), np.uint8)), "rank 2 where rank 1"),
        (TrainWhole(round=1, weights={"w": np.zeros(2)}), "'w' is float64; float32 is needed"),
        (TrainWhole(round=1, weights={"w": np.full(2, -np.inf, np.float32)}), "w has non-finite entries"),
        (Acknowledge(round=-1), "outside 0..4294967295"),
        (Acknowledge(round=2**32), "outside 0..4294967295"),
    ],
)
def test_what_may_not_travel_is_refused_by_the_sender(message: Message, problem: str) -> None:
    with pytest.raises(WireError, match=problem):
        encode(message)


def test_a_long_reason_is_cut_and_stays_text() -> None:
    decoded, _ = decode(encode(Failure(reason="é" * 5000)).data)
    assert isinstance(decoded, Failure)
    assert decoded.reason.startswith("é" * 900)
    assert len(decoded.reason) <= 1001


def test_arrays_that_arrive_are_copies_that_can_be_written() -> None:
    data = encode(split_batch(np.ones((1, 1, 2, 2), np.float32))).data
    decoded, _ = decode(data)
    assert isinstance(decoded, SplitBatch)
    decoded.activation_BCHW[:] = 0
    assert decoded.activation_BCHW.flags.aligned
    again, _ = decode(data)
    assert isinstance(again, SplitBatch)
    assert again.activation_BCHW.sum() == 4


def test_every_field_of_every_message_has_a_place_in_the_schema() -> None:
    for cls in REGISTRY.values():
        assert [name for name, _ in schema(cls)] == [field.name for field in dataclasses.fields(cls)]
        assert all(field.kind in LEDGER_KINDS for _, field in schema(cls))
    assert {name for name, _ in schema(Refresh)} == {"round", "view", "front_id", "want_labels"}
    assert "logits_NK" in {name for name, _ in schema(Distilled)}


class _Watched(dict[int, Any]):
    """A registry that says what it lacked after each change."""

    lacked: ClassVar[set[int]] = set()

    def _look(self) -> None:
        self.lacked |= {cls.number for cls in (Failure, InstallFront, Refresh)} - self.keys()

    def clear(self) -> None:
        super().clear()
        self._look()

    def pop(self, *arguments: Any) -> Any:
        found = super().pop(*arguments)
        self._look()
        return found


def test_a_message_is_known_at_every_moment_while_another_worker_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not: a device of many, answering beside others, was left out of a round now and then."""

    @dataclass(frozen=True, kw_only=True)
    class Own(wire_messages.Message):
        number: ClassVar[int] = 201

    watched = _Watched(wire_messages.REGISTRY)
    monkeypatch.setattr(wire_messages, "REGISTRY", watched)
    wire_messages.speak([Own])
    assert watched[201] is Own
    wire_messages.speak([Own])
    wire_messages.speak([])
    assert 201 not in watched
    assert not watched.lacked
