"""A whole network's weights in a quarter of their size.

One safetensors file. Tensors: weights of convolutions as int8 codes (``int8.NAME``) with one scale an output channel
(``scale.NAME``), everything else in float32 (``float.NAME``). Metadata: one JSON object with the card, which has a
digest of all numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ecofed.errors import ModelError
from ecofed.files.disk import json_text
from ecofed.files.json_values import parse, read_as
from ecofed.files.tensor_files import DESCRIPTION, is_described, unpack
from ecofed.pretraining.bundling import weights_digest
from ecofed.wire import int8_codes

_MAX_HEADER_BYTES = 1 << 20
_ROOMS = {
    "int8": (np.dtype(np.int8), (4,)),
    "scale": (np.dtype(np.float32), (1,)),
    "float": (np.dtype(np.float32), (0, 1, 2)),
}
"""By the first part of a name: element type and number of axes."""


@dataclass(frozen=True, kw_only=True)
class Int8Card:
    """What such a file says of itself."""

    model: str
    origin: str
    licence: str
    weights_sha256: str
    """Of the numbers that codes and scales stand for (:func:`ecofed.pretraining.bundling.weights_digest`)."""


def without_last(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All weights of a network but those of its last fully connected layer, which is for the classes of others."""
    connected = [name.removesuffix("weight") for name, array in arrays.items() if array.ndim == 2]
    return {name: array for name, array in arrays.items() if not connected or not name.startswith(connected[-1])}


def pack_int8(arrays: Mapping[str, np.ndarray], *, model: str, origin: str, licence: str) -> bytes:
    """The content of a file: the same weights, the same bytes.

    Raises:
        ModelError: an array of another kind of layer than these files have room for.
    """
    tensors: dict[str, np.ndarray] = {}
    for name, array in sorted(arrays.items()):
        if array.ndim == 4:
            tensors[f"int8.{name}"], tensors[f"scale.{name}"] = int8_codes(array)
        elif array.ndim in _ROOMS["float"][1]:
            tensors[f"float.{name}"] = np.asarray(array, np.float32)
        else:
            raise ModelError(f"'{name}' of {model} has {array.ndim} axes, for which int8 weights have no room")
    card = Int8Card(model=model, origin=origin, licence=licence, weights_sha256=weights_digest(_restored(tensors)))
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # With one entry: more of them are written in any order.
    return save(whole, metadata={DESCRIPTION: json_text({"int8": asdict(card)})})


def read_int8(path: Path) -> tuple[Int8Card, dict[str, np.ndarray]] | None:
    """The card and the weights, float32, of a file of :func:`pack_int8`; ``None`` for any other file.

    Raises:
        ModelError: it is one, and damaged, or holds what has no place in one.
    """
    if not is_described(path):
        return None
    try:
        content = unpack(path, max_header_bytes=_MAX_HEADER_BYTES)
        said = parse(content.description)
        if not isinstance(said, dict) or said.keys() != {"int8"}:
            return None
        card = read_as(Int8Card, said["int8"], "int8")
        arrays = _restored(content.arrays)
        if weights_digest(arrays) != card.weights_sha256:
            raise ValueError("holds other numbers than its card says ('weights_sha256')")
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from error
    return card, arrays


def _restored(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Raises ``ValueError`` for a tensor that has no place in such a file."""
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        room, _, own = name.partition(".")
        dtype, axes = _ROOMS.get(room, (None, ()))
        if tensor.dtype != dtype or tensor.ndim not in axes or not (room == "int8" or np.isfinite(tensor).all()):
            raise ValueError(f"'{name}' of {tensor.dtype} and {tensor.ndim} axes has no place in int8 weights")
        if room == "float":
            arrays[own] = tensor
            continue
        codes, scale_O = tensors.get(f"int8.{own}"), tensors.get(f"scale.{own}")
        # Without this a long scale would stretch a small weight to any size.
        if codes is None or scale_O is None or scale_O.shape != codes.shape[:1]:
            raise ValueError(f"'{name}' has no partner of as many channels")
        if room == "int8":
            arrays[own] = codes * scale_O.reshape(-1, 1, 1, 1)
    return arrays
