"""Mutated messages, bundles and tensors by the million: ``make fuzz``. Anything but a clean refusal is an error.

Mutations work on real messages and keep the header's length and checksum right most of the time, so that they reach the
fields. The keys of the random numbers are printed with a failure; memory is watched over the whole run.
"""

from __future__ import annotations

import argparse
import resource
import struct
import time
import zlib
from collections.abc import Callable

import numpy as np

from ecofed.errors import WireError
from ecofed.randomness import generator
from ecofed.wire import HEADER_BYTES, FrontBundle, decode, encode
from ecofed.wire.fields import Array, Blob, Field, Flag, Real, TensorDict, Text, UInt, read_tensors
from ecofed.wire.messages import REGISTRY, Message, schema

_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)


def _value(field: Field) -> object:
    match field:
        case UInt():
            return 3
        case Flag():
            return True
        case Real():
            return 0.5
        case Text():
            return "text"
        case Blob():
            return bytes(range(40))
        case Array():
            return np.ones((2,) * (field.rank or 4), field.dtypes[0])
        case TensorDict():
            return {"a.weight": np.ones((2, 3), np.float32), "a.bias": np.zeros(2, np.float32)}
    raise AssertionError(f"no example for {type(field).__name__}")


def example(cls: type[Message]) -> bytes:
    """One valid message of a class."""
    return encode(cls(**{name: _value(field) for name, field in schema(cls)})).data


def example_bundle() -> bytes:
    """A small front bundle."""
    return FrontBundle(
        model="lenet",
        width=1.0,
        cut="pool1",
        in_channels=1,
        mean=(0.5,),
        std=(0.25,),
        activation_shape=(2, 4, 4),
        weights={"conv.weight": np.ones((2, 1, 3, 3), np.float32)},
        upper={4: np.ones(2, np.float32)},
        card={"origin": "an example"},
    ).encode()


def mutate(data: bytes, draw: np.random.Generator) -> bytes:
    """One to four changes: a bit, a byte, an interesting number, a piece cut out, doubled or put in."""
    changed = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        kind, at = int(draw.integers(0, 6)), int(draw.integers(0, len(changed) + 1))
        length = int(draw.integers(1, 17))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << int(draw.integers(0, 8))
        elif kind == 1 and at < len(changed):
            changed[at] = int(draw.integers(0, 256))
        elif kind == 2:
            number = _INTERESTING[int(draw.integers(0, len(_INTERESTING)))]
            size = (1, 2, 4, 8)[int(draw.integers(0, 4))]
            changed[at : at + size] = (number & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        else:
            changed[at:at] = draw.bytes(length)
    return bytes(changed)


def mutated_message(data: bytes, draw: np.random.Generator) -> bytes:
    """Change a message; three times in four only its payload, under a header that is right about it."""
    if draw.integers(0, 4) == 0:
        return mutate(data, draw)
    payload = mutate(data[HEADER_BYTES:], draw)
    header = struct.pack("<4sBBHQI", b"EcoF", data[4], data[5], 0, len(payload), zlib.crc32(payload))
    return header + payload


def fuzz(count: int, seed: int = 0) -> tuple[int, int]:
    """Try ``count`` mutations; returns how many were refused and how many were still valid.

    Raises whatever else came out, after printing how to repeat it.
    """
    messages = [example(cls) for cls in REGISTRY.values()]
    bundle, weights = example_bundle(), example(REGISTRY[10])[HEADER_BYTES + 12 :]
    refused = valid = 0
    chunk = 1000
    for start in range(0, count, chunk):
        draw = generator(seed, "fuzz", sample=start)
        for number in range(start, min(start + chunk, count)):
            target: Callable[[bytes], object]
            if number % 10 == 8:
                target, data = FrontBundle.decode, mutate(bundle, draw)
            elif number % 10 == 9:
                target, data = read_tensors, mutate(weights, draw)
            else:
                target, data = decode, mutated_message(messages[number % len(messages)], draw)
            try:
                target(data)
                valid += 1
            except WireError:
                refused += 1
            except BaseException:
                print(f"seed {seed}, number {number}, {len(data)} bytes: {data.hex()}")
                raise
    return refused, valid


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, valid = fuzz(options.count, options.seed)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = time.monotonic() - started
    print(f"{options.count:,} mutations in {seconds:.0f} s: {refused:,} refused, {valid:,} still valid, nothing else;")
    print(f"peak memory grew by {grown:.1f} MiB")


if __name__ == "__main__":
    main()
