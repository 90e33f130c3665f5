"""What a plug-in's codec promises, tried once on a small activation: before anything is trained, and in one line.

What its code raises otherwise keeps its traceback; errors of this package, which its code may call, are told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np

from ecofed.activations.codecs.base import Codec, EncodedActivation
from ecofed.config.registry import broken, forget_when_new
from ecofed.config.registry.contract import kind_of
from ecofed.errors import EcoFedError

Shape = tuple[int, int, int]
#: Of the trial. The last batch is not full.
SAMPLES, BATCH = 3, 2
_OF_ENCODED = ("rows", "scales", "saturated_fraction")
_GOLDEN = 0.6180339887498949


def checked(cls: type[Codec], shape_CHW: Shape, upper_C: np.ndarray | None, bits: int) -> Codec:
    """A codec of a plug-in.

    Raises:
        ConfigError: it cannot be made so, or is not what a codec has to be.
    """
    codec = cls(shape_CHW, upper_C, bits)
    limits = None if upper_C is None else np.asarray(upper_C, np.float32).tobytes()
    if problem := _problem(cls, tuple(shape_CHW), limits, bits):
        raise broken("codec", cls.name, problem)
    return codec


@forget_when_new
@lru_cache(maxsize=256)
def _problem(cls: type[Codec], shape_CHW: Shape, limits: bytes | None, bits: int) -> str:
    """What a codec of this kind does otherwise than it should; empty: nothing was found."""
    codec = cls(shape_CHW, None if limits is None else np.frombuffer(limits, np.float32).copy(), bits)
    try:
        return next(_problems(codec), "")
    except EcoFedError as error:
        return f"a trial with a small activation ended in: {error}"


def _problems(codec: Codec) -> Iterator[str]:
    """One after the other; what follows a problem cannot be tried."""
    cls = type(codec)
    if not hasattr(codec, "entries"):
        yield "its __init__ must call super().__init__(shape_CHW, upper_C, bits)"
    if cls.row_bytes is Codec.row_bytes and not isinstance(getattr(codec, "bits_per_entry", None), Real):
        yield "does not say its rate: set self.bits_per_entry, a number, or override row_bytes"
    if not isinstance(codec.row_bytes, (int, np.integer)) or codec.row_bytes < 1:
        yield f"row_bytes is {codec.row_bytes!r}; it must be a whole number above 0"
    if cls.exportable and cls.to_onnx is Codec.to_onnx:
        yield "is exportable and has no to_onnx; write it, or leave exportable out"
    given = _activation(codec)
    encoded: Any = codec.encode(given, BATCH)
    yield from _problems_of_encoded(codec, encoded)
    if not np.array_equal(given, _activation(codec)):
        yield "encode changes the activation that it is given, which others use, too; work on a copy of it"
    again = codec.encode(_activation(codec), BATCH)
    if any(not np.array_equal(getattr(again, name), getattr(encoded, name)) for name in _OF_ENCODED):
        yield "encode gives something else for the same activation when it is asked again; draw no random numbers in it"
    yield from _problems_of_company(codec, encoded)
    rows, scale_N = codec.open(encoded.rows.tobytes(), SAMPLES, encoded.scales, BATCH)
    if codec.symbol_bits is not None:
        yield from _problems_of_symbols(codec, rows)
    decoded: Any = codec.decode(rows, scale_N if len(scale_N) else None)
    if problem := _other_array("decode gives an array of", decoded, np.float32, (SAMPLES, *codec.shape_CHW)):
        yield problem
    if not np.isfinite(decoded).all():
        yield "decode gives entries that are not finite (NaN or infinity)"
    alone = codec.decode(rows[:1], scale_N[:1] if len(scale_N) else None)
    if not np.allclose(alone, decoded[:1]):
        yield "decode makes something else of a row without the others; the replay buffer decodes those that it draws"


def _problems_of_encoded(codec: Codec, encoded: Any) -> Iterator[str]:
    if not isinstance(encoded, EncodedActivation):
        yield f"encode returns {kind_of(encoded)}; it must return an EncodedActivation"
    if problem := _other_array("encode gives rows of", encoded.rows, np.uint8, (SAMPLES, codec.row_bytes)):
        yield f"{problem}: samples, row_bytes"
    scales = codec.scales_of(SAMPLES, BATCH)
    if problem := _other_array("encode gives scales of", encoded.scales, np.float32, (scales,)):
        yield f"{problem}, as scales_of says"
    saturated = encoded.saturated_fraction
    if not isinstance(saturated, Real) or not 0 <= float(saturated) <= 1:
        yield f"encode gives saturated_fraction = {saturated!r}; it must be a number from 0 to 1"


def _problems_of_company(codec: Codec, encoded: EncodedActivation) -> Iterator[str]:
    """A row is its own image's, or with scales its batch's: what is encoded beside it changes nothing."""
    count = BATCH if len(encoded.scales) else 1
    fewer = codec.encode(_activation(codec)[:count], BATCH)
    if not np.array_equal(fewer.rows, encoded.rows[:count]):
        of_batches = "batches do not know each other" if len(encoded.scales) else "an image is tested alone, too"
        yield f"encode gives an activation other rows when others are encoded with it; {of_batches}"


def _problems_of_symbols(codec: Codec, rows: np.ndarray) -> Iterator[str]:
    bits = codec.symbol_bits
    if bits not in range(1, 9):
        yield f"symbol_bits is {bits!r}; it must be a whole number from 1 to 8, or None"
    symbols: Any = codec.symbols(rows)
    if problem := _other_array("symbols gives an array of", symbols, np.uint8, (SAMPLES, *codec.shape_CHW)):
        yield problem
    if symbols.max(initial=0) >> bits:
        yield f"symbols are up to {symbols.max()}, which symbol_bits = {bits} cannot say"
    back: Any = codec.rows_of_symbols(symbols)
    if not isinstance(back, np.ndarray) or back.dtype != np.uint8 or not np.array_equal(back, rows):
        yield "rows_of_symbols does not give back the rows that symbols was given"


def _other_array(what: str, array: Any, dtype: type, shape: tuple[int, ...]) -> str:
    """Why this is not an array of such a type and shape; empty: it is."""
    wanted = f"{np.dtype(dtype)} and shape {shape}"
    is_array = isinstance(array, np.ndarray)
    there = f"{array.dtype} and shape {array.shape}" if is_array else kind_of(array)
    return "" if there == wanted else f"{what} {there}; {wanted} are needed"


def _activation(codec: Codec) -> np.ndarray:
    """What any front may give: numbers from zero to a little above the limits, all over, always the same."""
    count = SAMPLES * math.prod(codec.shape_CHW)
    parts_N = np.arange(1, count + 1) * _GOLDEN % 1 * 1.1
    h_NCHW = parts_N.astype(np.float32).reshape(SAMPLES, *codec.shape_CHW)
    return h_NCHW * codec.upper_C11 if codec.upper_C11.size else h_NCHW
