"""Lossless coding of an upload's packed rows: fewer bytes on the wire, the same fixed-rate rows in the buffer.

Activations are sparse and skewed, and neighbouring entries are alike, so fewer bits than a codec packs are enough.
A coded upload begins with one byte that says how it is coded: whoever codes picks the smallest, and rows that nothing
shortens travel as they are. So an upload never grows by more than that byte.
"""

from __future__ import annotations

import numpy as np

from ecofed.activations.codecs import Codec
from ecofed.activations.entropy import deflate, range_coder
from ecofed.errors import WireError

#: What one upload may take in memory once it is decoded. Checked before anything is decoded.
MAX_DECODED_BYTES = 1 << 28

_RAW, _DEFLATE, _RANGE = b"\0", b"\1", b"\2"


def compress(codes: bytes, samples: int, codec: Codec, entropy: str) -> bytes:
    """What travels for the packed rows ``codes`` of ``samples`` samples; ``entropy`` is the configuration's.

    ``range`` chooses among all ways; of a codec without symbols (float32) those are deflate and none.

    Raises:
        MissingExtraError: the range coder is not installed.
    """
    if entropy == "none":
        return codes
    candidates = [_RAW + codes, _DEFLATE + deflate.compress(codes)]
    if entropy == "range" and codec.symbol_bits is not None:
        symbols_NCHW = codec.symbols(np.frombuffer(codes, np.uint8).reshape(samples, codec.row_bytes))
        candidates.append(_RANGE + range_coder.compress(symbols_NCHW, codec.symbol_bits))
    return min(candidates, key=len)


def decompress(data: bytes, samples: int, codec: Codec, entropy: str) -> bytes:
    """Inverse of :func:`compress`. Memory is bounded by ``samples`` rows, and those by :data:`MAX_DECODED_BYTES`.

    Raises:
        WireError: anything that is not a complete coded upload of so many samples.
    """
    expected = samples * codec.row_bytes
    if entropy == "none":
        return data
    if expected > MAX_DECODED_BYTES:
        raise WireError(f"upload of {samples} samples would take {expected} bytes; {MAX_DECODED_BYTES} are allowed")
    kind, body = data[:1], data[1:]
    if kind == _RAW:
        return body
    if kind == _DEFLATE:
        return deflate.decompress(body, expected)
    if kind == _RANGE and entropy == "range" and codec.symbol_bits is not None:
        symbols_NCHW = range_coder.decompress(body, (samples, *codec.shape_CHW), codec.symbol_bits)
        return codec.rows_of_symbols(symbols_NCHW).tobytes()
    raise WireError(f"upload coded in way {kind.hex() or 'none'}, which this run does not use")
