"""DEFLATE, from the standard library.

On packed rows of real activations zstd gains little over it, and it needs no package; benchmarks/codecs.py has both.
"""

from __future__ import annotations

import zlib

from ecofed.errors import WireError


def compress(data: bytes) -> bytes:
    """Raw DEFLATE at the default level; higher ones gain less than 1 %."""
    # No header and no checksum: the message around it has one.
    coder = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return coder.compress(data) + coder.flush()


def decompress(data: bytes, expected: int) -> bytes:
    """Exactly ``expected`` bytes; no more than one byte beyond them is ever decoded.

    Raises:
        WireError: damaged data, or another length.
    """
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        decoded = decoder.decompress(data, expected + 1)
    except zlib.error as error:
        raise WireError(f"upload cannot be decompressed ({error})") from error
    if len(decoded) != expected or not decoder.eof or decoder.unused_data:
        raise WireError(f"upload decompresses to another length than the {expected} bytes that its samples need")
    return decoded
