"""Lossless coding of an upload's packed rows: fewer bytes on the wire, the same fixed-rate rows in the buffer.

Activations are sparse and skewed, and neighbouring entries are alike, so fewer bits than a codec packs are enough.
A coded upload begins with one byte that says how it is coded: whoever codes picks the smallest, and rows that nothing
shortens travel as they are. So an upload never grows by more than that byte.
"""

from __future__ import annotations

import numpy as np

from ecofed.activations.codecs import Codec
from ecofed.activations.codecs.base import PIECE_ENTRIES
from ecofed.activations.entropy import deflate, position_coder, range_coder
from ecofed.errors import WireError

#: What one upload may take in memory once it is decoded. Checked before anything is decoded.
MAX_DECODED_BYTES = 1 << 28
#: An upload that says much in few bytes costs its reader time and memory. So beyond these first entries and bytes, a
#: byte stands for at most as many as its codec says, which fits hundreds of samples;
#: others deflate nearly as well. Whoever codes keeps to it too: no upload of a device that means well is refused.
FREE_ENTRIES = 1 << 20
FREE_BYTES, MOST_BYTES_A_BYTE = 1 << 20, 32

_RAW, _DEFLATE, _RANGE = b"\0", b"\1", b"\2"
_CODERS = {"neighbours": range_coder, "positions": position_coder}


def compress(codes: bytes, samples: int, codec: Codec, entropy: str) -> bytes:
    """What travels for the packed rows ``codes`` of ``samples`` samples; ``entropy`` is the configuration's.

    ``range`` chooses among all ways; of a codec without symbols (float32) those are deflate and none.

    Raises:
        MissingExtraError: the range coder is not installed.
    """
    if entropy == "none":
        return codes
    candidates = [_RAW + codes]
    deflated = deflate.compress(codes)
    if len(codes) <= FREE_BYTES + MOST_BYTES_A_BYTE * len(deflated):
        candidates.append(_DEFLATE + deflated)
    if entropy == "range" and codec.symbol_bits is not None:
        symbols_NCHW = codec.symbols(np.frombuffer(codes, np.uint8).reshape(samples, codec.row_bytes))
        coded = _CODERS[codec.entropy_model].compress(symbols_NCHW, codec.symbol_bits)
        if symbols_NCHW.size <= FREE_ENTRIES + codec.most_entries_a_byte * len(coded):
            candidates.append(_RANGE + coded)
    return min(candidates, key=len)


def check_length(data: bytes, samples: int, codec: Codec, entropy: str) -> None:
    """Whether ``data`` can be a coded upload of so many samples, as far as its length tells: quick, whatever it says.

    Raises:
        WireError: it cannot.
    """
    expected, kind, length = samples * codec.row_bytes, data[:1], len(data) - 1
    if entropy == "none" or kind == _RAW:
        length += entropy == "none"
        if length != expected:
            raise WireError(f"upload of {length} bytes; {samples} samples need {expected}")
    elif expected > MAX_DECODED_BYTES:
        raise WireError(f"upload of {samples} samples would take {expected} bytes; {MAX_DECODED_BYTES} are allowed")
    elif kind == _DEFLATE:
        _check_ratio(expected, "bytes", FREE_BYTES + MOST_BYTES_A_BYTE * length, length)
    elif kind == _RANGE and entropy == "range" and codec.symbol_bits is not None:
        _check_ratio(samples * codec.entries, "entries", FREE_ENTRIES + codec.most_entries_a_byte * length, length)
        coder = _CODERS[codec.entropy_model]
        if length < (least := coder.least_bytes((samples, *codec.shape_CHW), codec.symbol_bits)):
            raise WireError(f"range-coded upload of {length} bytes; {samples} samples need at least {least}")
    else:
        raise WireError(f"upload coded in way {kind.hex() or 'none'}, which this run does not use")


def decompress(data: bytes, samples: int, codec: Codec, entropy: str) -> bytes:
    """Inverse of :func:`compress`. Memory is bounded by ``samples`` rows, and those by :data:`MAX_DECODED_BYTES`.

    Raises:
        WireError: anything that is not a complete coded upload of so many samples.
    """
    check_length(data, samples, codec, entropy)
    if entropy == "none":
        return data
    kind, body = data[:1], data[1:]
    if kind == _RAW:
        return body
    if kind == _DEFLATE:
        return deflate.decompress(body, samples * codec.row_bytes)
    assert codec.symbol_bits is not None
    symbols_NCHW = _CODERS[codec.entropy_model].decompress(body, (samples, *codec.shape_CHW), codec.symbol_bits)
    return b"".join(codec.rows_of_symbols(symbols_NCHW[rows]).tobytes() for rows in _pieces(samples, codec.entries))


def _pieces(samples: int, entries: int) -> list[slice]:
    """Slices of so many samples, of about ``PIECE_ENTRIES`` entries each; one of none for no sample."""
    size = max(1, PIECE_ENTRIES // entries)
    return [slice(at, min(at + size, samples)) for at in range(0, max(1, samples), size)]


def _check_ratio(wanted: int, unit: str, most: int, length: int) -> None:
    if wanted > most:
        raise WireError(f"upload of {length} coded bytes for {wanted} {unit}; so many bytes may hold {most}")
