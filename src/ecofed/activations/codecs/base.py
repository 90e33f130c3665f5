"""What every codec is: an activation to rows of bytes and back, at a fixed rate.

Shape legend: N samples, C channels, H x W spatial, E = C*H*W entries of one sample. Every sample's codes start on a
byte boundary, so that a replay buffer can pick any row; ``row_bytes`` is exact and known before encoding.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from ecofed.config.facts import CodecFacts
from ecofed.errors import ConfigError, ModelError, WireError


@dataclass(frozen=True, kw_only=True)
class EncodedActivation:
    """Codes of N samples."""

    rows: np.ndarray
    """uint8, shape (N, row_bytes)."""
    scales: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    """float32, one a batch of ``batch_size`` rows for codecs with per-batch scales, otherwise empty."""
    saturated_fraction: float
    """Fraction of entries above the quantiser's upper limit."""

    @staticmethod
    def joined(parts: Sequence[EncodedActivation], codec: Codec) -> EncodedActivation:
        """Consecutive parts as one; without parts, no samples."""
        if not parts:
            rows = np.empty((0, codec.row_bytes), np.uint8)
            return EncodedActivation(rows=rows, scales=NO_SCALES, saturated_fraction=0.0)
        counts = [len(part.rows) for part in parts]
        return EncodedActivation(
            rows=np.concatenate([part.rows for part in parts]),
            scales=np.concatenate([part.scales for part in parts]),
            saturated_fraction=float(np.average([part.saturated_fraction for part in parts], weights=counts)),
        )


NO_SCALES = np.empty(0, np.float32)
LARGEST = 65504.0
"""What half precision can say. An upload of larger activations is refused: training would end at it."""
TIMES_THE_LIMIT = 32.0
"""How far above a front's largest quantiser limit, which almost no entry exceeds, an activation may be."""
PIECE_ENTRIES = 1 << 20
"""Entries that are worked on at a time, where each takes more memory than its code."""


def saturation_warned(bits: int) -> float:
    """More entries than this above the quantiser's limit, and a front does not suit the images: a run and a check warn.

    Limits with the least squared error clip nearly nothing at 4 bits, and a fifth of the entries at 1 or 2: on
    Fashion-MNIST limits set on these very images clip 19 %, those of the shipped grey front 22 %, and a linear
    classifier on either codes is as good (0.858, 0.854). Of uniform noise that front clips 39 %.
    """
    return 1 / 3 if bits <= 2 else 0.2


class Graph(Protocol):
    """An ONNX graph that is being written (:mod:`ecofed.onnx.graph`); values have names."""

    def constant(self, array: np.ndarray) -> str: ...
    def node(self, operator: str, *inputs: str, **attributes: Any) -> str: ...


class Codec(CodecFacts, ABC):
    """``upper_C`` are a bundle's quantiser limits, ``bits`` those of the configuration; who does not need them ignores
    them."""

    bits_per_entry: float
    symbol_bits: int | None = None
    """Bits of :meth:`symbols`, 1-8; ``None`` for a codec whose rows are not codes of entries."""
    entropy_model: ClassVar[str] = "neighbours"
    """What the range coder predicts a symbol from: those beside it, or how large others were at the same place."""
    most_entries_a_byte: ClassVar[int] = 10
    """Of long uploads: so many symbols may a byte stand for. Real activations take 0.7 bits an entry and more."""

    def __init__(self, shape_CHW: tuple[int, int, int], upper_C: np.ndarray | None = None, bits: int = 8) -> None:
        if self.uses_limits and (upper_C is None or upper_C.shape != shape_CHW[:1]):
            raise ConfigError(f"codec '{self.name}' needs one quantiser limit for each of {shape_CHW[0]} channels")
        if self.uses_limits and upper_C is not None and not (np.isfinite(upper_C).all() and (upper_C > 0).all()):
            raise ConfigError(f"codec '{self.name}': quantiser limits must be finite and above 0")
        self.bits = bits
        self.shape_CHW = shape_CHW
        self.entries = math.prod(shape_CHW)
        self.upper_C11 = np.empty(0) if upper_C is None else upper_C.astype(np.float32).reshape(-1, 1, 1)

    @property
    def largest(self) -> float:
        """The largest activation that an upload may hold; larger ones come from no image, and training ends at them."""
        limit = float(self.upper_C11.max(initial=0))
        return min(LARGEST, TIMES_THE_LIMIT * limit) if limit else LARGEST

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample's codes, known before encoding."""
        return math.ceil(self.entries * self.bits_per_entry / 8)

    def scales_of(self, samples: int, batch_size: int) -> int:  # noqa: ARG002 - part of the interface
        """How many scales travel with ``samples`` samples."""
        return 0

    @abstractmethod
    def encode(self, h_NCHW: np.ndarray, batch_size: int) -> EncodedActivation:
        """Encode float32 activations.

        Raises:
            WireError: a non-finite entry, which no code can stand for.
        """

    @abstractmethod
    def decode(self, rows: np.ndarray, scale_N: np.ndarray | None = None) -> np.ndarray:
        """Rows (N, row_bytes) to float32 (N, C, H, W); ``scale_N`` is each row's scale where the codec has scales.

        Raises:
            WireError: rows of the wrong length, or rows that no activation encodes to.
        """

    def there_and_back(self, h_NCHW: np.ndarray) -> np.ndarray:
        """What the server sees of these activations, coded as one batch: float32 (N, C, H, W).

        Raises:
            WireError: another shape, or entries that are not finite.
        """
        encoded = self.encode(h_NCHW, len(h_NCHW))
        return self.decode(encoded.rows, np.repeat(encoded.scales, len(h_NCHW)))

    def symbols(self, rows: np.ndarray) -> np.ndarray:  # noqa: ARG002 - part of the interface
        """The rows as one code an entry, uint8, (N, C, H, W): what an entropy coder models."""
        raise ConfigError(f"codec '{self.name}' has no codes of single entries")

    def rows_of_symbols(self, codes_NCHW: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """Inverse of :meth:`symbols`.

        Raises:
            WireError: codes that no activation encodes to.
        """
        raise ConfigError(f"codec '{self.name}' has no codes of single entries")

    def to_onnx(self, graph: Graph, activation: str) -> str:  # noqa: ARG002
        """Add what encoding and decoding do to an activation. Returns the name of the result.

        Raises:
            ModelError: it cannot be written as ONNX.
        """
        raise ModelError(f"codec.name = '{self.name}': this codec cannot be written as ONNX")

    def open(self, codes: bytes, samples: int, scales: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Check an upload; return its rows (N, row_bytes) and each row's scale (N,) or an empty array.

        Raises:
            WireError: lengths that do not match, rows that no activation encodes to, or an impossible scale.
        """
        if len(codes) != samples * self.row_bytes:
            raise WireError(f"upload of {len(codes)} bytes; {samples} samples need {samples * self.row_bytes}")
        self.check_scales(scales, samples, batch_size)
        rows = np.frombuffer(codes, np.uint8).reshape(samples, self.row_bytes)
        for at in range(0, samples, step := max(1, PIECE_ENTRIES // self.entries)):
            self.check_content(rows[at : at + step])
        return rows, np.repeat(scales, batch_size)[:samples]

    def check_scales(self, scales: np.ndarray, samples: int, batch_size: int) -> None:
        """Refuse scales that do not go with so many samples: known before anything is decoded.

        Raises:
            WireError: another number of them, or an impossible one.
        """
        if scales.shape != (self.scales_of(samples, batch_size),):
            raise WireError(f"upload with {scales.size} scales; {self.scales_of(samples, batch_size)} are needed")
        if not (np.isfinite(scales).all() and (scales >= 0).all()):
            raise WireError("upload with a scale that is negative or not finite")
        if (largest := float(scales.max(initial=0))) * 128 > self.largest:
            raise WireError(f"upload with a scale of {largest:g}: its activations could be above {self.largest:g}")

    def check_content(self, rows: np.ndarray) -> None:
        """Refuse rows of the right length that are not codes.

        Raises:
            WireError: no activation encodes to these rows.
        """

    def check_input(self, h_NCHW: np.ndarray) -> None:
        """Raise :class:`WireError` for another shape, or entries that are not finite."""
        if h_NCHW.shape[1:] != self.shape_CHW:
            raise WireError(f"activation of shape {h_NCHW.shape[1:]} where {self.shape_CHW} is expected")
        if not np.isfinite(h_NCHW).all():
            raise WireError("the activation has non-finite entries (NaN or infinity); check the front and the images")

    def check_rows(self, rows: np.ndarray) -> None:
        """Raise :class:`WireError` for what cannot be codes, by type and length."""
        if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != self.row_bytes:
            raise WireError(f"codes of {rows.dtype} and shape {rows.shape}; rows of {self.row_bytes} bytes are needed")
