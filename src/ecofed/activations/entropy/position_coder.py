"""An adaptive range coder for transformed activations: codes around :data:`MIDDLE`, nearly all of them there.

How large a code is depends on its channel and frequency. Both sides keep, for each of these positions, the mean
magnitude of the samples before; it chooses one of some tables of counts, which all positions of like magnitude share.
So few samples are enough to learn from, and nothing travels but the code stream.

Samples are coded one after the other, the positions of each all at once. Everything that decides a probability is
counted in whole numbers, or compared with powers of two: two machines never disagree.
Shape legend: N samples, C channels, H x W frequencies, E positions, L levels of magnitude, A symbols of the alphabet.
"""

from __future__ import annotations

import numpy as np

from ecofed.activations.entropy.coders import new_decoder, new_encoder
from ecofed.errors import WireError

MIDDLE = 128
#: Magnitudes up to this have symbols; at the last, what is beyond it follows, of 7 bits.
FARTHEST = 31
_SYMBOLS = 2 * FARTHEST + 1
_BEYOND = 128
#: Levels of the squared mean magnitude: powers of two from 2**-16.
_LEVELS = 25
_FIRST_LEVEL = -16
#: Weight of what is expected of a level before anything was seen, and of one symbol seen.
_EXPECTED, _SEEN = 4096, 96
#: Mean magnitude that is expected of channel c and frequency (y, x) before the first sample, in units of samples.
_AT_FIRST = 24.0


def compress(codes_NCHW: np.ndarray, bits: int) -> bytes:  # noqa: ARG001 - as the other coder
    """Codes, uint8, to bytes. Deterministic."""
    encoder, model = new_encoder(), _Model(codes_NCHW.shape)
    for codes_CHW in codes_NCHW:
        values_E = codes_CHW.reshape(-1).astype(np.int32) - MIDDLE
        symbols_E = np.clip(values_E, -FARTHEST, FARTHEST)
        encoder.encode(symbols_E + FARTHEST, model.probabilities())
        beyond = np.abs(values_E)[np.abs(symbols_E) == FARTHEST] - FARTHEST
        if len(beyond):
            encoder.encode_even(beyond.astype(np.int32), _BEYOND)
        model.saw(symbols_E)
    return encoder.words().astype("<u4").tobytes()


def decompress(data: bytes, shape_NCHW: tuple[int, int, int, int], bits: int) -> np.ndarray:
    """Inverse of :func:`compress`: codes, uint8. Memory is that of the codes, whatever the data say.

    Raises:
        WireError: the data are not those of such codes.
    """
    if len(data) % 4:
        raise WireError(f"range-coded upload of {len(data)} bytes; its words have 4")
    decoder, model = new_decoder(np.frombuffer(data, "<u4").astype(np.uint32)), _Model(shape_NCHW)
    codes_NCHW = np.empty(shape_NCHW, np.uint8)
    try:
        for codes_CHW in codes_NCHW:
            symbols_E = decoder.decode(model.probabilities()) - FARTHEST
            values_E = symbols_E.copy()
            far_E = np.abs(symbols_E) == FARTHEST
            if far_E.any():
                beyond = decoder.decode_even(int(far_E.sum()), _BEYOND)
                values_E[far_E] += np.sign(symbols_E[far_E]) * beyond
            if values_E.size and (values_E.min() < -MIDDLE or values_E.max() >= MIDDLE):
                raise WireError("range-coded upload of codes that are none")
            codes_CHW[...] = (values_E + MIDDLE).reshape(codes_CHW.shape)
            model.saw(symbols_E)
    except ValueError as error:
        raise WireError(f"range-coded upload cannot be decoded ({error})") from error
    # A stream that is cut off or goes on decodes to something, too: codes have one stream, and only that is accepted.
    if compress(codes_NCHW, bits) != data:
        raise WireError("range-coded upload of another length than its codes have")
    return codes_NCHW


def least_bytes(shape_NCHW: tuple[int, int, int, int], bits: int) -> int:  # noqa: ARG001
    """No stream of such codes is shorter. Codes of nothing but zeros take next to nothing."""
    return 0


def expected_bytes(codes_NCHW: np.ndarray) -> float:
    """About the length of :func:`compress`, without the package: the information in the codes by the same model."""
    model, bits = _Model(codes_NCHW.shape), 0.0
    for codes_CHW in codes_NCHW:
        symbols_E = np.clip(codes_CHW.reshape(-1).astype(np.int32) - MIDDLE, -FARTHEST, FARTHEST)
        probability_E = model.probabilities()[np.arange(symbols_E.size), symbols_E + FARTHEST]
        bits += float(-np.log2(probability_E).sum()) + 7 * float((np.abs(symbols_E) == FARTHEST).sum())
        model.saw(symbols_E)
    return bits / 8


class _Model:
    """What has been seen so far."""

    def __init__(self, shape_NCHW: tuple[int, ...]) -> None:
        _, channels, height, width = shape_NCHW
        frequency_HW = np.add.outer(np.arange(height), np.arange(width))
        place_CHW = (1.0 + np.arange(channels))[:, None, None] * (1.0 + frequency_HW)
        self._sum_E = (_AT_FIRST / place_CHW).reshape(-1)
        self._samples = 1
        mean_L = np.sqrt(np.ldexp(1.0, np.arange(_FIRST_LEVEL, _FIRST_LEVEL + _LEVELS)))
        self._count_LA = np.stack([_expected_counts(mean) for mean in mean_L])
        self._choose()

    def _choose(self) -> None:
        mean_E = self._sum_E / self._samples
        limits = np.ldexp(1.0, np.arange(_FIRST_LEVEL + 1, _FIRST_LEVEL + _LEVELS))
        self._level_E = np.searchsorted(limits, mean_E * mean_E, side="right")

    def probabilities(self) -> np.ndarray:
        """Of every symbol at every position of the next sample: float32 (E, A)."""
        table_LA = (self._count_LA / self._count_LA.sum(axis=1, keepdims=True)).astype(np.float32)
        probability_EA: np.ndarray = table_LA[self._level_E]
        return probability_EA

    def saw(self, symbols_E: np.ndarray) -> None:
        """The next sample's symbols, -FARTHEST..FARTHEST."""
        where_E = self._level_E * _SYMBOLS + symbols_E + FARTHEST
        self._count_LA += _SEEN * np.bincount(where_E, minlength=self._count_LA.size).reshape(self._count_LA.shape)
        self._sum_E = self._sum_E + np.abs(symbols_E)
        self._samples += 1
        self._choose()


def _expected_counts(mean: float) -> np.ndarray:
    """Of a geometric distribution of magnitudes with this mean, signs being equal: int64 (A,), none of them 0."""
    ratio = mean / (1 + mean)
    magnitude = np.multiply.accumulate(np.concatenate([[1 - ratio], np.full(FARTHEST, ratio)]))
    share = np.concatenate([magnitude[:0:-1] / 2, magnitude[:1], magnitude[1:] / 2])
    counts: np.ndarray = np.rint(share * _EXPECTED).astype(np.int64) + 1
    return counts
