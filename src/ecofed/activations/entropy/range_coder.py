"""An adaptive range coder for codes: each is predicted from its left and upper neighbour in the same channel.

Fewer bytes than DEFLATE on codes of up to 4 bits, and slower; ``benchmarks/codecs.py`` prints how much, and beside it
the speed of the front that made the activation. Nothing but the code stream travels: both sides count what they have
seen.

Positions (y, x) are coded one after the other, each for all samples and channels at once. For every channel and pair of
neighbours there is a count of each symbol, 1 at the start; a position is coded with the counts of the positions before
it. Of codes above 4 bits the upper four are predicted, the lower travel as they are: they are close to noise.
Shape legend: N samples, C channels, H x W spatial, K symbols.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ecofed.activations.entropy.coders import new_decoder, new_encoder
from ecofed.errors import WireError

#: Bits of a code that are predicted.
PREDICTED_BITS = 4
#: What a symbol that was seen adds to its count; with 1 at the start this is the Krichevsky-Trofimov estimate.
SEEN = 2
#: Codes whose unpredicted bits are handed to the coder at once; the stream is the same for any number.
PIECE = 1 << 16


def compress(codes_NCHW: np.ndarray, bits: int) -> bytes:
    """Codes below ``2**bits``, uint8, to bytes. Deterministic."""
    encoder, low_bits = new_encoder(), max(0, bits - PREDICTED_BITS)

    def encode(symbols: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        encoder.encode(symbols.astype(np.int32), probabilities)
        return symbols

    _walk(codes_NCHW >> np.uint8(low_bits), bits - low_bits, encode)
    if low_bits:
        codes = codes_NCHW.reshape(-1)
        for piece in _pieces(codes.size):
            low = (codes[piece] & ((1 << low_bits) - 1)).astype(np.int32)
            encoder.encode_even(low, 1 << low_bits)
    return encoder.words().astype("<u4").tobytes()


def decompress(data: bytes, shape_NCHW: tuple[int, int, int, int], bits: int) -> np.ndarray:
    """Inverse of :func:`compress`: codes, uint8. Memory is that of the codes, whatever the data say.

    Raises:
        WireError: the data are not those of such codes.
    """
    if len(data) % 4:
        raise WireError(f"range-coded upload of {len(data)} bytes; its words have 4")
    decoder, low_bits = new_decoder(np.frombuffer(data, "<u4").astype(np.uint32)), max(0, bits - PREDICTED_BITS)
    codes_NCHW = np.zeros(shape_NCHW, np.uint8)

    def decode(_: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        return decoder.decode(probabilities)

    try:
        _walk(codes_NCHW, bits - low_bits, decode)
        if low_bits:
            codes = codes_NCHW.reshape(-1)
            for piece in _pieces(codes.size):
                low = decoder.decode_even(piece.stop - piece.start, 1 << low_bits)
                codes[piece] = (codes[piece] << low_bits) | low.astype(np.uint8)
    except ValueError as error:
        raise WireError(f"range-coded upload cannot be decoded ({error})") from error
    # A stream that is cut off or goes on decodes to something, too: codes have one stream, and only that is accepted.
    if compress(codes_NCHW, bits) != data:
        raise WireError("range-coded upload of another length than its codes have")
    return codes_NCHW


def least_bytes(shape_NCHW: tuple[int, int, int, int], bits: int) -> int:
    """No stream of such codes is shorter, whatever they are.

    At an image's first position every symbol is as likely as any other, and low bits are so everywhere. Two words less:
    the coder's own slack at both ends.
    """
    samples, channels, height, width = shape_NCHW
    low_bits = max(0, bits - PREDICTED_BITS)
    certain_bits = samples * channels * ((bits - low_bits) + height * width * low_bits) if height * width else 0
    # Its probabilities are whole multiples of 2**-24.
    return max(0, int(certain_bits * 0.999) // 8 - 8)


def _walk(codes_NCHW: np.ndarray, bits: int, code: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Code every position in order, and write into ``codes_NCHW`` what ``code(symbols, probabilities)`` returns."""
    samples, channels, height, width = codes_NCHW.shape
    if not codes_NCHW.size:
        return
    symbols = 1 << bits
    count = np.ones((channels * symbols * symbols, symbols), np.int64)
    channel = np.arange(channels) * symbols * symbols
    outside = np.zeros((samples, channels), np.int64)
    for y in range(height):
        for x in range(width):
            left = codes_NCHW[:, :, y, x - 1] if x else outside
            above = codes_NCHW[:, :, y - 1, x] if y else outside
            context = (channel + left.astype(np.int64) * symbols + above).reshape(-1)
            probability = (count / count.sum(axis=1, keepdims=True)).astype(np.float32)
            seen = codes_NCHW[:, :, y, x].reshape(-1).copy()
            for piece in _pieces(seen.size):
                seen[piece] = code(seen[piece], probability[context[piece]])
            codes_NCHW[:, :, y, x] = seen.reshape(samples, channels)
            count += SEEN * np.bincount(context * symbols + seen, minlength=count.size).reshape(count.shape)


def _pieces(size: int) -> list[slice]:
    """Slices of ``size`` codes. The coder takes 32-bit symbols, and probabilities of each: all at once they would be a
    device's largest arrays.
    """
    return [slice(at, min(at + PIECE, size)) for at in range(0, size, PIECE)]
