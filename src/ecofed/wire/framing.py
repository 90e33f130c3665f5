"""Message to bytes and back: a fixed header, then the fields in order.

Header (20 bytes, little-endian): magic ``EcoF``, version (u8), message number (u8), reserved zero (u16),
payload length (u64), CRC-32 of the payload (u32).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from ecofed.errors import WireError
from ecofed.wire.fields import Reader
from ecofed.wire.messages import REGISTRY, Message, schema

MAGIC = b"EcoF"
VERSION = 1
MAX_MESSAGE_BYTES = 1 << 30

_HEADER = struct.Struct("<4sBBHQI")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True)
class Encoded:
    """A message's bytes and what they are for: ``by_kind`` sums to ``len(data)``."""

    data: bytes
    by_kind: Mapping[str, int]


def encode(message: Message) -> Encoded:
    """Encode a message.

    Raises:
        WireError: a value that its field does not allow (a non-finite activation, say), or a message without a number.
    """
    if "number" not in vars(type(message)):
        raise WireError(f"message {type(message).__name__} is missing in the 'messages' of its plug-in's method")
    pieces: list[bytes] = []
    by_kind: dict[str, int] = {}
    for name, field in schema(type(message)):
        try:
            written, content = field.write(getattr(message, name))
        except WireError as error:
            raise WireError(f"{type(message).__name__}.{name}: {error}") from error
        pieces += written
        by_kind[field.kind] = by_kind.get(field.kind, 0) + content
    payload = b"".join(pieces)
    if len(payload) > MAX_MESSAGE_BYTES:
        raise WireError(f"{type(message).__name__} of {len(payload)} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")
    header = _HEADER.pack(MAGIC, VERSION, type(message).number, 0, len(payload), zlib.crc32(payload))
    return Encoded(header + payload, _with_framing(by_kind, HEADER_BYTES + len(payload)))


def payload_length(header: bytes) -> int:
    """Check a header and return how many payload bytes follow it; nothing is allocated before this check.

    Raises:
        WireError: not a header of this protocol and version, or a payload above ``MAX_MESSAGE_BYTES``.
    """
    if len(header) != HEADER_BYTES:
        raise WireError(f"header of {len(header)} bytes; {HEADER_BYTES} are needed")
    magic, version, number, reserved, length, _ = _HEADER.unpack(header)
    if magic != MAGIC:
        raise WireError("not an EcoFed message (wrong magic)")
    if version != VERSION:
        raise WireError(f"protocol version {version}; this program speaks {VERSION}: update the older side")
    if number not in REGISTRY or reserved:
        raise WireError(f"unknown message number {number}")
    if length > MAX_MESSAGE_BYTES:
        raise WireError(f"payload of {length} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")
    return int(length)


def decode(data: bytes) -> tuple[Message, dict[str, int]]:
    """Decode one whole message: the message, and its bytes by ledger kind.

    Raises:
        WireError: anything but exactly one valid message. No other exception escapes.
    """
    length = payload_length(bytes(data[:HEADER_BYTES]))
    _, _, number, _, _, checksum = _HEADER.unpack(data[:HEADER_BYTES])
    payload = memoryview(data)[HEADER_BYTES:]
    if len(payload) != length:
        raise WireError(f"payload of {len(payload)} bytes; the header says {length}")
    if zlib.crc32(payload) != checksum:
        raise WireError("checksum mismatch: the message was damaged on its way")
    cls = REGISTRY[number]
    reader = Reader(payload)
    values: dict[str, object] = {}
    by_kind: dict[str, int] = {}
    for name, field in schema(cls):
        try:
            values[name], content = field.read(reader)
        except WireError as error:
            raise WireError(f"{cls.__name__}.{name}: {error}") from error
        by_kind[field.kind] = by_kind.get(field.kind, 0) + content
    if reader.remaining:
        raise WireError(f"{cls.__name__}: {reader.remaining} bytes too many")
    return cls(**values), _with_framing(by_kind, len(data))


def _with_framing(by_kind: dict[str, int], total: int) -> dict[str, int]:
    """Everything that is not content of another kind is ``control``."""
    others = {kind: count for kind, count in by_kind.items() if kind != "control" and count}
    return {**others, "control": total - sum(others.values())}
