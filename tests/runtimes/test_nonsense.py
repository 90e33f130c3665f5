"""Replies that are well-formed messages and still nonsense: each costs only the device that sends it."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from small import method_over, prepared_for, small_config

from ecofed.config.methods import METHODS, PAPER_METHODS
from ecofed.devices import DeviceWorker
from ecofed.errors import DeviceError
from ecofed.methods import Method
from ecofed.methods.refusals import BelowQuorumError
from ecofed.methods.transport import Answer
from ecofed.runtimes import InProcessTransport
from ecofed.wire import Acknowledge, Failure, Message, decode, encode

Change = Callable[[Message], bytes]
VILLAIN = 2


class Corrupted(InProcessTransport):
    """Devices in process, one of which changes what it says."""

    def __init__(self, make_worker: Callable[[int], DeviceWorker], change: Change | None) -> None:
        super().__init__(make_worker)
        self.change = change

    def exchange(self, device: int, requests: Sequence[bytes], deadline: float | None) -> Answer:
        answer = super().exchange(device, requests, deadline)
        if device != VILLAIN or self.change is None:
            return answer
        return dataclasses.replace(answer, replies=[self.change(decode(reply)[0]) for reply in answer.replies])


def replaced(message: Message, **changes: object) -> bytes:
    """The message with those of the fields that it has."""
    names = {field.name for field in dataclasses.fields(message)}
    own = {name: change for name, change in changes.items() if name in names}
    return encode(dataclasses.replace(message, **own)).data  # type: ignore[arg-type]


def other_round(message: Message) -> bytes:
    return replaced(message, round=77)


def other_kind(_message: Message) -> bytes:
    return encode(Acknowledge(round=1)).data


def refusal(_message: Message) -> bytes:
    return encode(Failure(reason="the disk is full")).data


def damaged(message: Message) -> bytes:
    data = bytearray(encode(message).data)
    data[-1] ^= 1
    return bytes(data)


def wrong_shapes(message: Message) -> bytes:
    """Weights that lack one, an activation of another size, codes of another length."""
    changes: dict[str, object] = {}
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if isinstance(value, dict):
            changes[field.name] = {name: array[..., None] for name, array in value.items()}
        elif isinstance(value, np.ndarray) and value.ndim == 4:
            changes[field.name] = np.concatenate([value, value], axis=2)
        elif field.name == "codes":
            changes[field.name] = value[:-3]
    return replaced(message, **changes)


def not_a_number(message: Message) -> bytes:
    """The last four bytes of the largest array become NaN, under a checksum that fits."""
    data = bytearray(encode(message).data)
    largest = max(
        (
            array
            for value in vars(message).values()
            for array in (value.values() if isinstance(value, dict) else [value])
            if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size
        ),
        key=lambda array: array.size,
        default=None,
    )
    if largest is None and not hasattr(message, "saturated_fraction"):
        return bytes(data)  # no number in it
    if largest is None:
        data[20:] = data[20:].replace(struct.pack("<f", message.saturated_fraction), struct.pack("<f", np.nan), 1)  # type: ignore[attr-defined]
    else:
        at = bytes(data).index(largest.tobytes())
        data[at : at + 4] = struct.pack("<f", np.nan)
    data[16:20] = struct.pack("<I", zlib.crc32(bytes(data[20:])))
    return bytes(data)


CHANGES: dict[str, Change] = {
    change.__name__: change for change in (other_round, other_kind, refusal, damaged, wrong_shapes, not_a_number)
}


def learned(method: Method) -> dict[str, np.ndarray]:
    arrays, _ = method.state()
    return arrays


#: What all methods share is tested with two of them.
CASES = [
    (method, name) for method in PAPER_METHODS for name in CHANGES if method in ("lgl", "ecofed") or "shape" in name
]


@pytest.mark.parametrize(("method_name", "name"), CASES)
def test_nonsense_costs_only_who_says_it(method_name: str, name: str, pictures: Path) -> None:
    """The others' round is what it would have been had only they been asked."""
    config = small_config(pictures, method_name, sampled_devices=4, quorum=0.5)
    with method_over(Corrupted(prepared_for(config).worker, CHANGES[name]), prepared_for(config)) as method:
        method.channel.start_round()
        method.train_round(1, [0, 1, 2, 3])
        notes, disturbed = method.channel.notes, learned(method)
        assert method.channel.took_part == {0, 1, 3}
    with method_over(Corrupted(prepared_for(config).worker, None), prepared_for(config)) as method:
        method.channel.start_round()
        method.train_round(1, [0, 1, 3])
        expected = learned(method)
    assert [note.split(":")[0] for note in notes] == [f"device {VILLAIN}"]
    assert notes[0].endswith("left out of this round")
    assert disturbed.keys() == expected.keys()
    for key, array in disturbed.items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)


@pytest.mark.parametrize("method_name", METHODS)
def test_below_the_quorum_the_state_is_untouched_and_the_bytes_count(method_name: str, pictures: Path) -> None:
    config = small_config(pictures, method_name, sampled_devices=4, quorum=1)
    prepared = prepared_for(config)
    with method_over(Corrupted(prepared.worker, other_kind), prepared) as method:
        before = learned(method)
        method.channel.start_round()
        with pytest.raises(BelowQuorumError, match="3 of 4 devices answered, 4 are needed"):
            method.train_round(1, [0, 1, 2, 3])
        after = learned(method)
        assert method.channel.ledger.total("uplink") > 0
        assert method.channel.ledger.total("downlink") > 0
    assert before.keys() == after.keys()
    for key, array in before.items():
        np.testing.assert_array_equal(array, after[key], err_msg=key)


def test_activations_of_another_front_are_refused(pictures: Path) -> None:
    config = small_config(pictures, "ecofed", sampled_devices=4, quorum=0.5)
    prepared = prepared_for(config)

    def other_front(message: Message) -> bytes:
        return replaced(message, front_id="0" * 32)

    with method_over(Corrupted(prepared.worker, other_front), prepared) as method:
        method.channel.start_round()
        method.train_round(1, [0, 1, 2, 3])
        (note,) = method.channel.notes
        assert note.startswith("device 2: installed another front")


@pytest.mark.parametrize("field", ["labels_N", "labels_B"])
def test_a_label_that_no_class_has(field: str, pictures: Path) -> None:
    method_name = "vanilla-dpfl" if field == "labels_B" else "ecofed"
    prepared = prepared_for(small_config(pictures, method_name, sampled_devices=4, quorum=0.5))

    def strange_label(message: Message) -> bytes:
        labels = getattr(message, field, None)
        return encode(message).data if labels is None else replaced(message, **{field: np.full_like(labels, 200)})

    with method_over(Corrupted(prepared.worker, strange_label), prepared) as method:
        method.channel.start_round()
        method.train_round(1, [0, 1, 2, 3])
        assert method.channel.notes == ["device 2: label 200 of 4 classes; left out of this round"]


def test_a_claimed_sample_count_takes_no_memory(pictures: Path) -> None:
    prepared = prepared_for(small_config(pictures, "ecofed", sampled_devices=4, quorum=0.5))
    boast = lambda message: replaced(message, samples=2**32 - 1)  # noqa: E731
    with method_over(Corrupted(prepared.worker, boast), prepared) as method:
        method.channel.start_round()
        method.train_round(1, [0, 1, 2, 3])
        assert "samples need" in method.channel.notes[0]


def test_a_run_where_all_say_no_stops_with_the_reason(pictures: Path) -> None:
    prepared = prepared_for(small_config(pictures, "lgl", quorum=0.5))
    with method_over(Corrupted(prepared.worker, refusal), prepared) as method:
        method.channel.start_round()
        with pytest.raises(DeviceError, match="device 2: the disk is full"):
            method.train_round(1, [VILLAIN])
