"""A range coder: codes and the probabilities of each to 32-bit words, and back.

Two implementations of one stream: that of the package ``constriction`` (compiled) where it is installed, and our own
in Python. ``constriction`` has no wheel for Linux on ARM and no source package, so a Raspberry Pi runs ours; the words
are equal, bit for bit (``tests/activations/test_coders.py``).

The stream is a number below 1 in base 2**32. ``low`` is its smallest possible value, ``range`` how far beyond that it
may lie, both of 64 bits; a symbol takes its share of the range, in units of 2**-24. Whenever less than 2**32 is left of
the range, the upper word of ``low`` is settled but for a carry, and is shifted out.
Shape legend: E codes, A symbols of the alphabet.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

_WORD, _PRECISION = 32, 24
_WHOLE = (1 << 64) - 1
_UPPER = 1 << _WORD


class Encoder(Protocol):
    """Takes codes in order."""

    def encode(self, codes_E: np.ndarray, probabilities_EA: np.ndarray) -> None:
        """Codes 0..A-1 (int32); positive probabilities of each, float32, A of 2 or more."""
        ...

    def encode_even(self, codes_E: np.ndarray, size: int) -> None:
        """Codes 0..size-1 (int32), all as likely as each other."""
        ...

    def words(self) -> np.ndarray:
        """The stream, uint32."""
        ...


class Decoder(Protocol):
    """Gives codes back in the same order."""

    def decode(self, probabilities_EA: np.ndarray) -> np.ndarray:
        """As many codes as there are rows, int32. Raises :class:`ValueError` for a stream that no codes have."""
        ...

    def decode_even(self, count: int, size: int) -> np.ndarray:
        """``count`` codes, int32. Raises as :meth:`decode`."""
        ...


class PlainEncoder:
    """Ours."""

    def __init__(self) -> None:
        self._low, self._range = 0, _WHOLE
        self._words: list[int] = []

    def encode(self, codes_E: np.ndarray, probabilities_EA: np.ndarray) -> None:
        left_EA = _left_of(probabilities_EA)
        rows_E = np.arange(len(codes_E))
        left_E = left_EA[rows_E, codes_E]
        self._put(left_E.tolist(), (left_EA[rows_E, codes_E + 1] - left_E).tolist())

    def encode_even(self, codes_E: np.ndarray, size: int) -> None:
        left_A = _even(size)
        self._put(left_A[codes_E].tolist(), np.diff(left_A)[codes_E].tolist())

    def _put(self, lefts: list[int], shares: list[int]) -> None:
        low, range_, words = self._low, self._range, self._words
        for left, share in zip(lefts, shares, strict=True):
            unit = range_ >> _PRECISION
            low += unit * left
            range_ = unit * share
            if low > _WHOLE:
                low &= _WHOLE
                _carry(words)
            if range_ < _UPPER:
                words.append(low >> _WORD)
                low = (low << _WORD) & _WHOLE
                range_ <<= _WORD
        self._low, self._range = low, range_

    def words(self) -> np.ndarray:
        words = self._words.copy()
        if self._range != _WHOLE:  # something was encoded
            # The shortest number that lies in the range whatever follows it.
            point = self._low + _UPPER - 1
            if point > _WHOLE:
                point &= _WHOLE
                _carry(words)
            words.append(point >> _WORD)
            if ((self._low + self._range) & _WHOLE) >> _WORD == words[-1]:
                words.append(0)
        return np.array(words, np.uint32)


class PlainDecoder:
    """Ours."""

    def __init__(self, words: np.ndarray) -> None:
        self._words: list[int] = words.tolist()
        self._at = 0
        self._low, self._range = 0, _WHOLE
        self._point = (self._next() << _WORD) | self._next()

    def decode(self, probabilities_EA: np.ndarray) -> np.ndarray:
        return np.array([self._get(left_A) for left_A in _left_of(probabilities_EA)], np.int32)

    def decode_even(self, count: int, size: int) -> np.ndarray:
        left_A = _even(size)
        return np.array([self._get(left_A) for _ in range(count)], np.int32)

    def _next(self) -> int:
        self._at += 1
        return self._words[self._at - 1] if self._at <= len(self._words) else 0

    def _get(self, left_A: np.ndarray) -> int:
        unit = self._range >> _PRECISION
        share = ((self._point - self._low) & _WHOLE) // unit
        if share >= 1 << _PRECISION:
            raise ValueError("no codes have this stream")
        code = int(np.searchsorted(left_A, share, side="right")) - 1
        self._low = (self._low + unit * int(left_A[code])) & _WHOLE
        self._range = unit * int(left_A[code + 1] - left_A[code])
        if self._range < _UPPER:
            self._low = (self._low << _WORD) & _WHOLE
            self._range <<= _WORD
            self._point = ((self._point << _WORD) & _WHOLE) | self._next()
        return code


class CompiledEncoder:
    """That of ``constriction``."""

    def __init__(self, stream: Any) -> None:
        self._coder, self._models = stream.queue.RangeEncoder(), stream.model

    def encode(self, codes_E: np.ndarray, probabilities_EA: np.ndarray) -> None:
        self._coder.encode(codes_E, self._models.Categorical(perfect=False), probabilities_EA)

    def encode_even(self, codes_E: np.ndarray, size: int) -> None:
        self._coder.encode(codes_E, self._models.Uniform(size))

    def words(self) -> np.ndarray:
        words: np.ndarray = self._coder.get_compressed()
        return words


class CompiledDecoder:
    """That of ``constriction``."""

    def __init__(self, stream: Any, words: np.ndarray) -> None:
        self._coder, self._models = stream.queue.RangeDecoder(words), stream.model

    def decode(self, probabilities_EA: np.ndarray) -> np.ndarray:
        try:
            codes_E: np.ndarray = self._coder.decode(self._models.Categorical(perfect=False), probabilities_EA)
        except AssertionError as error:
            raise ValueError(str(error)) from error
        return codes_E

    def decode_even(self, count: int, size: int) -> np.ndarray:
        try:
            codes_E: np.ndarray = self._coder.decode(self._models.Uniform(size), count)
        except AssertionError as error:
            raise ValueError(str(error)) from error
        return codes_E


def new_encoder() -> Encoder:
    """The fastest that is installed."""
    stream = _compiled()
    return PlainEncoder() if stream is None else CompiledEncoder(stream)


def new_decoder(words: np.ndarray) -> Decoder:
    """The fastest that is installed; ``words``: uint32."""
    stream = _compiled()
    return PlainDecoder(words) if stream is None else CompiledDecoder(stream, words)


def _compiled() -> Any:
    """The package's streams, or ``None``."""
    try:
        from constriction import stream
    except ImportError:
        return None
    return stream


def _carry(words: list[int]) -> None:
    """Add one to the number that the words are."""
    at = len(words) - 1
    while words[at] == _UPPER - 1:
        words[at] = 0
        at -= 1
    words[at] += 1


def _left_of(probabilities_EA: np.ndarray) -> np.ndarray:
    """Where each symbol's share begins, in units of 2**-24: int64 (E, A + 1). Every symbol has at least one unit."""
    probabilities_EA = probabilities_EA.astype(np.float32)
    rows, symbols = probabilities_EA.shape
    sum_EA = np.cumsum(probabilities_EA, axis=1, dtype=np.float32)  # one after the other, as the order of sums matters
    scale_E = np.float32((1 << _PRECISION) - symbols) / sum_EA[:, -1:]
    left_EA = np.zeros((rows, symbols + 1), np.int64)
    left_EA[:, 1:symbols] = (sum_EA[:, :-1] * scale_E).astype(np.int64) + np.arange(1, symbols)
    left_EA[:, symbols] = 1 << _PRECISION
    return left_EA


def _even(size: int) -> np.ndarray:
    """The same for symbols that are as likely as each other; the last has what is left over."""
    left_A = np.arange(size + 1, dtype=np.int64) * ((1 << _PRECISION) // size)
    left_A[-1] = 1 << _PRECISION
    return left_A
