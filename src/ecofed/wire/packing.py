"""A front in fewer bytes for its delivery: DEFLATE around the bundle, which names each of a hundred small tensors."""

from __future__ import annotations

import zlib

from ecofed.errors import WireError

_MAGIC = b"EFZ1"
#: What a bundle may grow to. The fronts of this package have 30 kB to 1 MB; a whole ResNet-50 has 100 MB.
MAX_UNPACKED_BYTES = 256 << 20


def pack(content: bytes) -> bytes:
    """Anything, shorter."""
    return _MAGIC + zlib.compress(content, 9)


def unpack(data: bytes, limit: int = MAX_UNPACKED_BYTES) -> bytes:
    """Inverse of :func:`pack`; what was not packed as it is.

    Raises:
        WireError: damaged, or longer than ``limit``; no more than that is ever decoded.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        return data
    decoder = zlib.decompressobj()
    try:
        content = decoder.decompress(data[len(_MAGIC) :], limit + 1)
    except zlib.error as error:
        raise WireError(f"front bundle: cannot be decompressed ({error})") from error
    if len(content) > limit:
        raise WireError(f"front bundle: decompresses to more than {limit:,} bytes")
    if not decoder.eof or decoder.unused_data:
        raise WireError("front bundle: its compressed bytes end too early or too late")
    return content
