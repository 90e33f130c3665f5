"""Arrays and a description of them in one safetensors file, with a checksum over both.

safetensors itself would not notice a flipped bit, nor an edited number. Files of earlier versions have no checksum, and
are read without.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ecofed.files.reading import check_regular, opened

#: Of the entries in front of the arrays: where the description stands, and where the checksum.
DESCRIPTION, _CHECKSUM = "ecofed", "checksum"
#: Of the names, shapes and description in front of the arrays. Those of a long run's checkpoint are the longest.
MAX_HEADER_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class TensorFile:
    """What such a file holds."""

    description: str
    """JSON, not yet read."""
    arrays: dict[str, np.ndarray]
    has_checksum: bool


def pack(arrays: Mapping[str, np.ndarray], description: str) -> bytes:
    """The content of a file: the same bytes for the same arrays and description."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    found = str(checksum(description, whole))
    return _in_order(save(whole, metadata={DESCRIPTION: description, _CHECKSUM: found}), found)


def _in_order(content: bytes, found: str) -> bytes:
    """With the checksum before the description: which of them the library writes first is chance."""
    before, last = b'{"__metadata__":{', f',"{_CHECKSUM}":"{found}"}}'.encode()
    start = 8 + len(before)
    end = 8 + int.from_bytes(content[:8], "little")
    at = content.find(last, start, end)  # no text in the header can hold this: quotes in it are escaped
    if at < 0:
        return content
    own, rest = memoryview(content), at + len(last)
    return b"".join([own[:start], last[1:-1], b",", own[start:at], b"}", own[rest:]])


def unpack(path: Path, *, max_header_bytes: int = MAX_HEADER_BYTES) -> TensorFile:
    """Read a file that :func:`pack` made.

    Raises:
        OSError: it cannot be read. ValueError: it is not such a file, or is damaged; says how.
    """
    with opened(path) as stream:
        if int.from_bytes(stream.read(8), "little") > max_header_bytes:
            raise ValueError("is not a safetensors file (its header would be too long)")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    # Element types that numpy lacks and sizes that no machine has each raise an error of their own.
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"is not a safetensors file ({error})") from error
    if DESCRIPTION not in metadata:
        raise ValueError("has no description of ecofed's in it")
    verify(metadata, arrays)
    return TensorFile(description=metadata[DESCRIPTION], arrays=arrays, has_checksum=_CHECKSUM in metadata)


def is_described(path: Path) -> bool:
    """Whether a file has a description of ecofed's in it, and so was written by :func:`pack` or is a front."""
    try:
        check_regular(path)
        with safe_open(path, "numpy") as file:
            return DESCRIPTION in (file.metadata() or {})
    except Exception:  # an unreadable file fails in many ways
        return False


def verify(metadata: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ``ValueError`` where a file's metadata has a checksum and it is not that of the content."""
    if _CHECKSUM in metadata and metadata[_CHECKSUM] != str(checksum(str(metadata[DESCRIPTION]), arrays)):
        raise ValueError("is damaged or was changed: its checksum is wrong")


def checksum(text: str, arrays: Mapping[str, np.ndarray]) -> int:
    """CRC-32 of the description and of every array's name, type, shape and content."""
    result = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        result = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), result)
        result = zlib.crc32(array.reshape(-1).view(np.uint8).data, result)
    return result
