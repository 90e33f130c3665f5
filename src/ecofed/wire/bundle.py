"""The front bundle: everything a device needs to turn an image into codes, and a server to build the matching back.

One safetensors file. Tensors: the front's state (``front.*``, with its running statistics and, where there is one,
``bottleneck.*``; convolution weights may be int8 codes, with one value an output channel in ``scale.*``), the
quantiser's limits (``upper.<bits>``, one value a channel) and the back's matching expansion (``expansion.*``).
Metadata: one JSON object with the description below.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from safetensors.numpy import save as save_tensors

from ecofed.errors import ConfigError, WireError
from ecofed.files.disk import json_text, write_bytes
from ecofed.files.json_values import Within, parse, read_as
from ecofed.files.reading import content_of
from ecofed.files.tensor_files import pack, verify
from ecofed.wire import packing
from ecofed.wire.fields import MAX_TENSORS_HEADER_BYTES, check_finite, read_tensors

_DESCRIPTION = (
    "model",
    "width",
    "cut",
    "in_channels",
    "input_size",
    "normalisation",
    "mean",
    "std",
    "activation_shape",
)
_ROOMS = ("front", "expansion", "upper", "scale")
_BITS = tuple(str(bits) for bits in range(1, 9))
_DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.int8))

_Width = Annotated[float, Within(1e-3, 64)]
_Channels = Annotated[int, Within(1, 1024)]
_Side = Annotated[int, Within(1, 8192)]
_Entries = Annotated[int, Within(1, 65536)]


@dataclass(frozen=True, kw_only=True)
class FrontBundle:
    """A frozen front and its constants. Arrays are float32."""

    model: str
    width: float
    cut: str
    in_channels: int
    mean: tuple[float, ...]
    """Input normalisation, per channel, in units of 0..1."""
    std: tuple[float, ...]
    activation_shape: tuple[int, int, int]
    """(C, H, W) after the bottleneck, for one image."""
    weights: Mapping[str, np.ndarray]
    """State of the front: parameters and running statistics, under the whole model's names; ``bottleneck.*`` too."""
    upper: Mapping[int, np.ndarray]
    """``upper[bits]``: upper limit of the quantiser per channel, shape (C,); the lower limit is 0."""
    expansion: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Initial state of the back's expansion after a bottleneck; empty without one."""
    input_size: int = 32
    normalisation: str = "frozen"
    """``frozen`` (BatchNorm with constant statistics) or ``group``."""
    int8: bool = False
    """Whether convolution weights are sent as 8-bit codes; they are exact multiples of their channel's scale then."""
    packed: bool = False
    """Whether it travels compressed, and every value that float16 can hold in that (:func:`ecofed.models.compact`)."""
    completed_to: str = ""
    """Of a front that stops early, for a weak device: the cut up to which the server runs the rest; otherwise empty."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: data, command, seed, epochs, probe accuracy, licence. JSON values."""

    @cached_property
    def id(self) -> str:
        """Hash of what decides an activation's codes; part of every upload, so that fronts cannot be mixed."""
        tensors, text = self.for_device()._parts()  # not compressed: zlib's versions may differ
        return sha256(save_tensors(tensors, metadata={"ecofed": text})).hexdigest()[:32]

    def for_device(self, bits: int | None = None) -> FrontBundle:
        """What a device is sent: no expansion, no card, and only the limits for ``bits`` (all when ``None``)."""
        if bits is not None and bits not in self.upper:
            there = sorted(self.upper) or [8]
            codec = "dct" if there == [8] else "uniform"
            raise ConfigError(
                f"codec.bits = {bits}: this front has quantiser limits for {sorted(self.upper)} bits only; set "
                f"codec.name={codec} and codec.bits={there[-1]}"
            )
        upper = self.upper if bits is None else {bits: self.upper[bits]}
        return dataclasses.replace(self, upper=upper, expansion={}, card={})

    def stopping_at(
        self, cut: str, names: Iterable[str], activation_shape: tuple[int, int, int], upper: Mapping[int, np.ndarray]
    ) -> FrontBundle:
        """The first part of this front, for a device that runs no more of it; the server completes it.

        Args:
            cut: the last layer that the device runs.
            names: the weights of the first part.
            activation_shape: (C, H, W) after it.
            upper: the quantiser's limits there.
        """
        return dataclasses.replace(
            self.for_device(),
            cut=cut,
            weights={name: self.weights[name] for name in names},
            activation_shape=activation_shape,
            upper=upper,
            completed_to=self.cut,
        )

    def with_int8_weights(self) -> FrontBundle:
        """The front with convolution weights rounded to 8 bits, one scale an output channel: another front, another id.

        A quarter of the size of float32. Server, device and tests all use the rounded front.
        """
        rounded = {name: _rounded(array) if array.ndim == 4 else array for name, array in self.weights.items()}
        return dataclasses.replace(self, weights=rounded, int8=True)

    def encode(self) -> bytes:
        """The bundle as bytes; the same bundle always gives the same bytes."""
        tensors, text = self._parts()
        content: bytes = save_tensors(tensors, metadata={"ecofed": text})
        return packing.pack(content) if self.packed else content

    def file_content(self) -> bytes:
        """The same for a file: with a checksum, which messages have of their own."""
        return pack(*self._parts())

    def _parts(self) -> tuple[dict[str, np.ndarray], str]:
        tensors = {f"front.{name}": array for name, array in self.weights.items()}
        tensors |= {f"expansion.{name}": array for name, array in self.expansion.items()}
        tensors |= {f"upper.{bits}": array for bits, array in self.upper.items()}
        description = {name: getattr(self, name) for name in _DESCRIPTION} | {"card": dict(self.card)}
        if self.completed_to:  # fronts that do not stop early are described as they always were, and keep their ids
            description["completed_to"] = self.completed_to
        if self.packed:
            description["packed"] = True
        ordered = {name: _compact(tensors[name], self.packed) for name in sorted(tensors)}
        if self.int8:
            for name in [name for name, array in tensors.items() if name.startswith("front.") and array.ndim == 4]:
                ordered[name], ordered[f"scale.{name.removeprefix('front.')}"] = int8_codes(tensors[name])
        return ordered, json_text(description, sort_keys=True)

    @classmethod
    def decode(cls, data: bytes) -> FrontBundle:
        """Inverse of :meth:`encode`.

        Raises:
            WireError: anything that is not a complete, finite bundle.
        """
        data = packing.unpack(data)
        tensors = read_tensors(data)
        length = int.from_bytes(data[:8], "little")
        if length > MAX_TENSORS_HEADER_BYTES:
            raise WireError("front bundle: header too long")
        try:
            header = read_as(dict[str, Any], parse(data[8 : 8 + length]))
            metadata = read_as(dict[str, str], header.get("__metadata__"), "__metadata__")
            said = read_as(_Description, parse(metadata.get("ecofed", "")))
            verify(metadata, tensors)
        except ValueError as error:
            raise WireError(f"front bundle: malformed ({error})") from error
        parts = _rooms(tensors)
        bundle = cls(
            **{name: getattr(said, name) for name in (*_DESCRIPTION, "completed_to", "packed", "card")},
            weights=parts["front"],
            int8=bool(parts["scale"]),
            expansion=parts["expansion"],
            upper={int(bits): array for bits, array in parts["upper"].items()},
        )
        bundle._check()
        return bundle

    def _check(self) -> None:
        channels = self.activation_shape[0]
        problems = {
            "mean and std need one value a channel": len(self.mean) == len(self.std) == self.in_channels,
            "mean and std must be finite, std above 0": bool(
                np.isfinite([*self.mean, *self.std]).all() and min(self.std, default=0) > 0
            ),
            "upper limits must be above 0, one a channel": all(
                limits.shape == (channels,) and bool((limits > 0).all()) for limits in self.upper.values()
            ),
        }
        for problem, fine in problems.items():
            if not fine:
                raise WireError(f"front bundle: {problem}")

    def save(self, path: Path) -> None:
        """Write the bundle to a file."""
        write_bytes(path, self.file_content())

    @classmethod
    def load(cls, path: Path) -> FrontBundle:
        """Read a bundle from a file; :class:`WireError` names the file when it is not one."""
        try:
            return cls.decode(content_of(path))
        except OSError as error:
            raise WireError(f"{path}: cannot be read ({error.strerror or error})") from error
        except WireError as error:
            raise WireError(f"{path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Description:
    """What a bundle says of itself, as it may stand in one."""

    model: str
    width: _Width
    cut: str
    in_channels: _Channels
    input_size: _Side
    normalisation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    activation_shape: tuple[_Entries, _Entries, _Entries]
    completed_to: str = ""
    packed: bool = False
    card: dict[str, Any]


def _rooms(tensors: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """A bundle's tensors by the first part of their names, float32; int8 codes times their scales.

    Raises:
        WireError: a tensor that has no place in a bundle.
    """
    parts: dict[str, dict[str, np.ndarray]] = {room: {} for room in _ROOMS}
    for name, array in tensors.items():
        room, _, rest = name.partition(".")
        if room not in parts or array.dtype not in _DTYPES or (room == "upper" and rest not in _BITS):
            raise WireError(f"front bundle: '{name}' of {array.dtype} has no place in it")
        parts[room][rest] = array.astype(np.float32)
    for name, scale_O in parts["scale"].items():
        codes = parts["front"].get(name)
        # Without this a long scale would stretch a small weight to any size.
        if codes is None or codes.ndim != 4 or scale_O.shape != codes.shape[:1]:
            raise WireError(f"front bundle: 'scale.{name}' fits no weight")
        with np.errstate(over="ignore"):
            parts["front"][name] = codes * scale_O.reshape(-1, 1, 1, 1)
        check_finite(parts["front"][name], name)
    return parts


def int8_codes(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of -127..127, int8, and a scale for each output channel (the first axis), float32.

    ``codes * scale`` is the rounded weight. Scales have 16 significant bits, so that such products are exact and have
    these codes and scales themselves.
    """
    largest_O = np.abs(weight.astype(np.float32)).reshape(len(weight), -1).max(axis=1, initial=0)
    bits_O = (np.where(largest_O > 0, largest_O, np.float32(127)) / np.float32(127)).astype(np.float32).view(np.uint32)
    scale_O = ((bits_O + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)
    codes = np.clip(np.rint(weight / scale_O.reshape(-1, *[1] * (weight.ndim - 1))), -127, 127).astype(np.int8)
    return codes, scale_O


def _rounded(weight: np.ndarray) -> np.ndarray:
    codes, scale_O = int8_codes(weight)
    rounded: np.ndarray = codes.astype(np.float32) * scale_O.reshape(-1, 1, 1, 1)
    return rounded


def _compact(array: np.ndarray, packed: bool = False) -> np.ndarray:
    """Float16 for convolution weights that lose nothing by it (bundles are made with such weights), else float32.

    Of a packed bundle so is every array.

    The front's delivery costs half as much then; every reader turns them back into float32.
    """
    single = np.ascontiguousarray(array, np.float32)
    with np.errstate(over="ignore"):
        half = single.astype(np.float16)
    return half if (packed or single.ndim == 4) and np.array_equal(half.astype(np.float32), single) else single
