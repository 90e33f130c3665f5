"""How many bytes a message will have, from shapes alone: nothing is allocated, nothing is encoded.

Framing is measured on the fields themselves, with empty values, so that this file knows no layout but that of
safetensors' header. The planner predicts a run's ledger with it, to the byte.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecofed.errors import WireError, nearest
from ecofed.files.disk import json_text
from ecofed.wire.bundle import FrontBundle, _compact
from ecofed.wire.fields import Array, Blob, Field, TensorDict, Text
from ecofed.wire.framing import HEADER_BYTES, _with_framing
from ecofed.wire.messages import Message, schema

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ArrayShape:
    """Stands for an array."""

    shape: tuple[int, ...]
    dtype: str = "f4"


_ENTRY_BYTES = {"F32": 4, "F16": 2, "I8": 1}


def message_size(cls: type[Message], **values: Any) -> dict[str, int]:
    """Bytes by ledger kind of a message, as :func:`ecofed.wire.encode` would count them.

    Args:
        cls: the message class.
        **values: for each array field an :class:`ArrayShape`, for tensors their shapes by name, for opaque bytes their
            number, for text the text. Numbers and flags always have the same size.

    Raises:
        WireError: something that is no field, or a field of many sizes that is left out.
    """
    if problem := misfit(cls, values):
        raise WireError(f"{cls.__name__} {problem}")
    by_kind: dict[str, int] = {}
    total = HEADER_BYTES
    for name, field in schema(cls):
        size, content = _field_size(field, values.get(name))
        total += size
        by_kind[field.kind] = by_kind.get(field.kind, 0) + content
    return _with_framing(by_kind, total)


def misfit(cls: type[Message], values: Mapping[str, Any]) -> str:
    """Why a message's size does not follow from these values; empty: it does."""
    fields = dict(schema(cls))
    for name in values:
        if name not in fields:
            return f"has no field '{name}'{nearest(name, fields)}; it has {', '.join(fields)}"
    for name, field in fields.items():
        for kind, (fits, what) in _SIZED.items():
            if isinstance(field, kind) and not fits(values.get(name)):
                return f"needs the size of its field '{name}': {what}"
    return ""


#: What tells the size of a field, where not all of its values have the same.
_SIZED: dict[type[Field], tuple[Callable[[Any], bool], str]] = {
    Array: (lambda value: isinstance(value, ArrayShape), "an ArrayShape"),
    TensorDict: (lambda value: isinstance(value, Mapping), "the shapes of its tensors by name"),
    Blob: (lambda value: isinstance(value, (int, float, np.number)), "a number of bytes"),
    Text: (lambda value: isinstance(value, str), "the text"),
}


def tensors_size(
    shapes: Shapes, metadata: Mapping[str, str] | None = None, kinds: Mapping[str, str] | None = None
) -> int:
    """Length of a safetensors file of float32 tensors; ``kinds`` names those that are ``F16`` or ``I8``."""
    kinds = kinds or {}
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    at = 0
    for name in sorted(shapes, key=lambda name: (-_ENTRY_BYTES[kinds.get(name, "F32")], name)):  # wide types come first
        kind = kinds.get(name, "F32")
        end = at + _ENTRY_BYTES[kind] * math.prod(shapes[name])
        header[name] = {"dtype": kind, "shape": list(shapes[name]), "data_offsets": [at, end]}
        at = end
    length = len(json_text(header, separators=(",", ":"), ascii_only=False).encode())
    return 8 + -(-length // 8) * 8 + at  # the header is padded to a multiple of eight bytes


def bundle_size(bundle: FrontBundle) -> int:
    """Length of ``bundle.encode()``; arrays without memory (broadcast ones) will do, of one that is not packed."""
    if bundle.packed:
        return len(bundle.encode())
    arrays = {f"front.{name}": array for name, array in bundle.weights.items()}
    arrays |= {f"expansion.{name}": array for name, array in bundle.expansion.items()}
    arrays |= {f"upper.{bits}": array for bits, array in bundle.upper.items()}
    # A broadcast array has one value: a single entry of it tells the type that all are sent as.
    samples = {name: array if any(array.strides) else array[(slice(1),) * array.ndim] for name, array in arrays.items()}
    kinds = {name: "F16" for name, array in samples.items() if _compact(array).dtype == np.float16}
    shapes = {name: array.shape for name, array in arrays.items()}
    if bundle.int8:
        for name in [name for name in shapes if name.startswith("front.") and len(shapes[name]) == 4]:
            kinds[name] = "I8"
            shapes[f"scale.{name.removeprefix('front.')}"] = shapes[name][:1]
    empty = dataclasses.replace(bundle, weights={}, expansion={}, upper={}).encode()
    length = int.from_bytes(empty[:8], "little")
    metadata = json.loads(empty[8 : 8 + length])["__metadata__"]
    return tensors_size(shapes, metadata, kinds)


def _field_size(field: Field, value: Any) -> tuple[int, int]:
    """Bytes on the wire, and how many of them are content."""
    if isinstance(field, Array):
        empty = np.empty((0,) * len(value.shape), value.dtype)
        content = math.prod(value.shape) * empty.itemsize
        return _framing(field, empty) + content, content
    if isinstance(field, TensorDict):
        # Without tensors there is still a header: the file's own, which is not framing of the field.
        size = tensors_size(value)
        return _framing(field, {}) - tensors_size({}) + size, sum(4 * math.prod(shape) for shape in value.values())
    if isinstance(field, Blob):
        return _framing(field, b"") + value, value
    pieces, content = field.write(value if isinstance(field, Text) else 0)
    return sum(map(len, pieces)), content


def _framing(field: Field, empty: Any) -> int:
    pieces, _ = field.write(empty)
    return sum(map(len, pieces))
