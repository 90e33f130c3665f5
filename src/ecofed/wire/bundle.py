"""The front bundle: everything a device needs to turn an image into codes, and a server to build the matching back.

One safetensors file. Tensors: the front's state (``front.*``, with its running statistics and, where there is one,
``bottleneck.*``; convolution weights may be int8 codes, with one value an output channel in ``scale.*``), the
quantiser's limits (``upper.<bits>``, one value a channel) and the back's matching expansion (``expansion.*``).
Metadata: one JSON object with the description below.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from ecofed.errors import ConfigError, WireError
from ecofed.files import json_text, write_bytes
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
    completed_to: str = ""
    """Of a front that stops early, for a weak device: the cut up to which the server runs the rest; otherwise empty."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: data, command, seed, epochs, probe accuracy, licence. JSON values."""

    @cached_property
    def id(self) -> str:
        """Hash of what decides an activation's codes; part of every upload, so that fronts cannot be mixed."""
        return sha256(self.for_device().encode()).hexdigest()[:32]

    def for_device(self, bits: int | None = None) -> FrontBundle:
        """What a device is sent: no expansion, no card, and only the limits for ``bits`` (all when ``None``)."""
        if bits is not None and bits not in self.upper:
            raise ConfigError(
                f"ecofed.bits = {bits}: this front has quantiser limits for {sorted(self.upper)} bits only"
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
        tensors = {f"front.{name}": array for name, array in self.weights.items()}
        tensors |= {f"expansion.{name}": array for name, array in self.expansion.items()}
        tensors |= {f"upper.{bits}": array for bits, array in self.upper.items()}
        description = {name: getattr(self, name) for name in _DESCRIPTION} | {"card": dict(self.card)}
        if self.completed_to:  # fronts that do not stop early are described as they always were, and keep their ids
            description["completed_to"] = self.completed_to
        ordered = {name: _compact(tensors[name]) for name in sorted(tensors)}
        if self.int8:
            for name in [name for name, array in tensors.items() if name.startswith("front.") and array.ndim == 4]:
                ordered[name], ordered[f"scale.{name.removeprefix('front.')}"] = int8_codes(tensors[name])
        return save_tensors(ordered, metadata={"ecofed": json_text(description, sort_keys=True)})

    @classmethod
    def decode(cls, data: bytes) -> FrontBundle:
        """Inverse of :meth:`encode`.

        Raises:
            WireError: anything that is not a complete, finite bundle.
        """
        tensors = read_tensors(data)
        length = int.from_bytes(data[:8], "little")
        try:
            if length > MAX_TENSORS_HEADER_BYTES:
                raise ValueError("header too long")
            description = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["ecofed"])
            parts: dict[str, dict[str, np.ndarray]] = {"front": {}, "expansion": {}, "upper": {}, "scale": {}}
            for name, array in tensors.items():
                room, _, rest = name.partition(".")
                check_finite(array, name)
                parts[room][rest] = array.astype(np.float32)
            for name, scale_O in parts["scale"].items():
                parts["front"][name] = parts["front"][name] * scale_O.reshape(-1, 1, 1, 1)
                check_finite(parts["front"][name], name)
            shape = tuple(int(size) for size in description["activation_shape"])
            bundle = cls(
                model=str(description["model"]),
                width=float(description["width"]),
                cut=str(description["cut"]),
                in_channels=int(description["in_channels"]),
                input_size=int(description["input_size"]),
                normalisation=str(description["normalisation"]),
                mean=tuple(float(value) for value in description["mean"]),
                std=tuple(float(value) for value in description["std"]),
                activation_shape=(shape[0], shape[1], shape[2]),
                weights=parts["front"],
                int8=bool(parts["scale"]),
                expansion=parts["expansion"],
                upper={int(bits): array for bits, array in parts["upper"].items()},
                completed_to=str(description.get("completed_to", "")),
                card=dict(description["card"]),
            )
        except (KeyError, ValueError, TypeError, IndexError, RecursionError, AttributeError) as error:
            raise WireError(f"front bundle: malformed ({type(error).__name__}: {error})") from error
        bundle._check()
        return bundle

    def _check(self) -> None:
        channels = self.activation_shape[0]
        problems = {
            "activation_shape must be positive and small": all(0 < size <= 65536 for size in self.activation_shape),
            "mean and std need one value a channel": len(self.mean) == len(self.std) == self.in_channels,
            "mean and std must be finite, std above 0": bool(
                np.isfinite([*self.mean, *self.std]).all() and min(self.std, default=0) > 0
            ),
            "upper limits must be above 0, one a channel": all(
                1 <= bits <= 8 and limits.shape == (channels,) and bool((limits > 0).all())
                for bits, limits in self.upper.items()
            ),
        }
        for problem, fine in problems.items():
            if not fine:
                raise WireError(f"front bundle: {problem}")

    def save(self, path: Path) -> None:
        """Write the bundle to a file."""
        write_bytes(path, self.encode())

    @classmethod
    def load(cls, path: Path) -> FrontBundle:
        """Read a bundle from a file; :class:`WireError` names the file when it is not one."""
        try:
            return cls.decode(path.read_bytes())
        except OSError as error:
            raise WireError(f"{path}: cannot be read ({error.strerror})") from error
        except WireError as error:
            raise WireError(f"{path}: {error}") from error


def int8_codes(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes of -127..127, int8, and a scale for each output channel, float32; ``codes * scale`` is the rounded weight.

    Scales have 16 significant bits, so that such products are exact and have these codes and scales themselves.
    """
    largest_O = np.abs(weight.astype(np.float32)).reshape(len(weight), -1).max(axis=1, initial=0)
    bits_O = (np.where(largest_O > 0, largest_O, np.float32(127)) / np.float32(127)).astype(np.float32).view(np.uint32)
    scale_O = ((bits_O + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)
    codes = np.clip(np.rint(weight / scale_O.reshape(-1, 1, 1, 1)), -127, 127).astype(np.int8)
    return codes, scale_O


def _rounded(weight: np.ndarray) -> np.ndarray:
    codes, scale_O = int8_codes(weight)
    rounded: np.ndarray = codes.astype(np.float32) * scale_O.reshape(-1, 1, 1, 1)
    return rounded


def _compact(array: np.ndarray) -> np.ndarray:
    """Float16 for convolution weights that lose nothing by it (bundles are made with such weights), else float32.

    The front's delivery costs half as much then; every reader turns them back into float32.
    """
    single = np.ascontiguousarray(array, np.float32)
    with np.errstate(over="ignore"):
        half = single.astype(np.float16)
    return half if single.ndim == 4 and np.array_equal(half.astype(np.float32), single) else single
