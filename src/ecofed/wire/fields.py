"""Field types of the closed wire schema.

A field writes a value as bytes and reads it back, says which ledger kind its content belongs to, and caps every
length before memory is taken for it. There are no names or types on the wire: the schema is the program.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ecofed.errors import WireError

MAX_ARRAY_BYTES = 1 << 30
MAX_TENSORS_HEADER_BYTES = 1 << 20

#: The only element types that may travel, by their code on the wire.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("<u2"),
    4: np.dtype("<u4"),
    5: np.dtype("i1"),
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}

#: Of 32 bits.
_LARGEST_REAL = float(np.finfo(np.float32).max)

Tensors = Mapping[str, np.ndarray]


class Reader:
    """A cursor over received bytes. Reading past the end is a :class:`WireError`, never an index error."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> memoryview:
        if count < 0 or count > self.remaining:
            raise WireError(f"message ends early: {count} bytes wanted, {self.remaining} left")
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))


@dataclass(frozen=True)
class Field:
    """One field of a message. ``kind`` is the ledger kind of its content; its framing is always ``control``."""

    kind: str = "control"

    def write(self, value: Any) -> tuple[list[bytes], int]:
        """Return the pieces to send and how many of their bytes are content."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def read(self, reader: Reader) -> tuple[Any, int]:
        """Inverse of :meth:`write`: the value, and how many of the bytes read are content."""
        raise TypeError(f"{type(self).__name__} is abstract")


@dataclass(frozen=True)
class UInt(Field):
    """An unsigned 32-bit integer."""

    limit: int = 2**32 - 1

    def write(self, value: Any) -> tuple[list[bytes], int]:
        if not isinstance(value, Integral):
            raise WireError(f"a whole number is needed, not {_named(value)}")
        if not 0 <= int(value) <= self.limit:
            raise WireError(f"integer {value} is outside 0..{self.limit}")
        return [struct.pack("<I", int(value))], 4

    def read(self, reader: Reader) -> tuple[int, int]:
        (value,) = reader.unpack("<I")
        if value > self.limit:
            raise WireError(f"integer {value} is outside 0..{self.limit}")
        return value, 4


@dataclass(frozen=True)
class Flag(Field):
    """True or false, one byte."""

    def write(self, value: Any) -> tuple[list[bytes], int]:
        return [b"\x01" if value else b"\x00"], 1

    def read(self, reader: Reader) -> tuple[bool, int]:
        (value,) = reader.unpack("<B")
        if value > 1:
            raise WireError(f"flag byte {value} is neither 0 nor 1")
        return bool(value), 1


@dataclass(frozen=True)
class Real(Field):
    """A finite 32-bit float."""

    def write(self, value: Any) -> tuple[list[bytes], int]:
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor of several
            raise WireError(f"a number is needed, not {_named(value)}") from None
        if not math.isfinite(number):
            raise WireError(f"number {value} is not finite")
        if abs(number) > _LARGEST_REAL:
            raise WireError(f"number {value} is too large for 32 bits")
        return [struct.pack("<f", number)], 4

    def read(self, reader: Reader) -> tuple[float, int]:
        (value,) = reader.unpack("<f")
        if not math.isfinite(value):
            raise WireError(f"number {value} is not finite")
        return value, 4


@dataclass(frozen=True)
class Text(Field):
    """Short UTF-8 text."""

    limit: int = 2000

    def write(self, value: Any) -> tuple[list[bytes], int]:
        data = str(value).encode()[: self.limit]
        return [struct.pack("<H", len(data)), data], len(data)

    def read(self, reader: Reader) -> tuple[str, int]:
        (length,) = reader.unpack("<H")
        if length > self.limit:
            raise WireError(f"text of {length} bytes exceeds {self.limit}")
        return bytes(reader.take(length)).decode(errors="replace"), length


@dataclass(frozen=True)
class Blob(Field):
    """Opaque bytes, checked by whoever opens them."""

    limit: int = MAX_ARRAY_BYTES

    def write(self, value: Any) -> tuple[list[bytes], int]:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise WireError(f"bytes are needed, not {_named(value)}")
        if len(value) > self.limit:
            raise WireError(f"{len(value)} bytes exceed the limit of {self.limit}")
        return [struct.pack("<Q", len(value)), bytes(value)], len(value)

    def read(self, reader: Reader) -> tuple[bytes, int]:
        (length,) = reader.unpack("<Q")
        if length > self.limit:
            raise WireError(f"{length} bytes exceed the limit of {self.limit}")
        return bytes(reader.take(length)), length


@dataclass(frozen=True)
class Array(Field):
    """A numpy array with an allowed element type, a bounded rank and, for floats, finite entries only."""

    dtypes: Sequence[str] = ("f4",)
    rank: int | None = None

    def write(self, value: Any) -> tuple[list[bytes], int]:
        array = np.asarray(value)
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        self._check(array)
        shape = struct.pack(f"<BB{array.ndim}I", _CODES[array.dtype], array.ndim, *array.shape)
        return [shape, array.tobytes()], array.nbytes

    def read(self, reader: Reader) -> tuple[np.ndarray, int]:
        code, rank = reader.unpack("<BB")
        if code not in DTYPES or rank > 4:
            raise WireError(f"array with element code {code} and rank {rank} is not allowed")
        shape = reader.unpack(f"<{rank}I")
        nbytes = math.prod(shape) * DTYPES[code].itemsize  # Python integers: no overflow to exploit
        if nbytes > MAX_ARRAY_BYTES:
            raise WireError(f"array of {nbytes} bytes exceeds the limit of {MAX_ARRAY_BYTES}")
        try:
            # A copy: the array is aligned and does not keep the whole message alive.
            array = np.frombuffer(reader.take(nbytes), DTYPES[code]).reshape(shape).copy()
        except ValueError as error:  # sizes whose product overflows, made empty by a zero
            raise WireError(f"array of shape {shape} is impossible") from error
        self._check(array)
        return array, nbytes

    def _check(self, array: np.ndarray) -> None:
        if array.dtype not in _CODES or array.dtype.str.lstrip("<|") not in self.dtypes:
            raise WireError(f"array of {array.dtype} where {'/'.join(self.dtypes)} is allowed")
        if self.rank is not None and array.ndim != self.rank:
            raise WireError(f"array of rank {array.ndim} where rank {self.rank} is needed")
        check_finite(array)


@dataclass(frozen=True)
class TensorDict(Field):
    """Named float tensors as safetensors. Their data are content, the safetensors header is ``control``."""

    limit: int = MAX_ARRAY_BYTES

    def write(self, value: Any) -> tuple[list[bytes], int]:
        if not isinstance(value, Mapping):
            raise WireError(f"tensors by name are needed, not {_named(value)}")
        arrays = {name: np.ascontiguousarray(array) for name, array in value.items()}
        for name, array in arrays.items():
            if array.dtype != np.float32:
                raise WireError(f"tensor '{name}' is {array.dtype}; float32 is needed")
            check_finite(array, name)
        data = save_tensors(arrays)
        return [struct.pack("<Q", len(data)), data], sum(array.nbytes for array in arrays.values())

    def read(self, reader: Reader) -> tuple[dict[str, np.ndarray], int]:
        (length,) = reader.unpack("<Q")
        if length > self.limit:
            raise WireError(f"tensors of {length} bytes exceed the limit of {self.limit}")
        arrays = read_tensors(bytes(reader.take(length)))
        for name, array in arrays.items():
            if array.dtype != np.float32:
                raise WireError(f"tensor '{name}' is {array.dtype}; float32 is needed")
        return arrays, sum(array.nbytes for array in arrays.values())


def _named(value: Any) -> str:
    """What it is that cannot be written, in short."""
    return f"{value!r}"[:60] if isinstance(value, (str, int, float)) else type(value).__name__


def read_tensors(data: bytes) -> dict[str, np.ndarray]:
    """Open safetensors bytes from anywhere: capped header, finite floats, one error.

    Raises:
        WireError: anything that is not a well-formed safetensors file of finite numbers.
    """
    if len(data) < 8 or int.from_bytes(data[:8], "little") > min(MAX_TENSORS_HEADER_BYTES, len(data) - 8):
        raise WireError("tensors: the header length is impossible")
    try:
        arrays = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise WireError(f"tensors: not valid safetensors ({error})") from error
    for name, array in arrays.items():
        check_finite(array, name)
    return arrays


def check_finite(array: np.ndarray, name: str = "array") -> None:
    """Raise :class:`WireError` for a float array with NaN or infinite entries."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise WireError(f"{name} has non-finite entries (NaN or infinity)")
