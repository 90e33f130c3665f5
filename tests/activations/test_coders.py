"""Our range coder and constriction's: the same words, and the codes back, from each other's too."""

from __future__ import annotations

import numpy as np
import pytest
from constriction import stream
from hypothesis import given, settings
from hypothesis import strategies as st

from ecofed.activations.entropy import coders
from ecofed.activations.entropy.coders import CompiledDecoder, CompiledEncoder, PlainDecoder, PlainEncoder


def a_message(seed: int, size: int, symbols: int, skew: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Codes with their probabilities, and codes that are all as likely."""
    rng = np.random.default_rng(seed)
    odds_EA = rng.random((size, symbols)) ** skew + 1e-7
    probabilities_EA = (odds_EA / odds_EA.sum(axis=1, keepdims=True)).astype(np.float32)
    likely = rng.random(size) < 0.9
    codes_E = np.where(likely, probabilities_EA.argmax(axis=1), rng.integers(0, symbols, size)).astype(np.int32)
    even = int(rng.integers(2, 300))
    return codes_E, probabilities_EA, rng.integers(0, even, size // 2).astype(np.int32), even


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(0, 400), st.integers(2, 63), st.sampled_from([0.0, 1.0, 8.0, 60.0]))
def test_both_give_the_same_words_and_read_each_others(seed: int, size: int, symbols: int, skew: float) -> None:
    codes_E, probabilities_EA, even_E, even = a_message(seed, size, symbols, skew)
    words = []
    for encoder in (PlainEncoder(), CompiledEncoder(stream)):
        encoder.encode(codes_E, probabilities_EA)
        encoder.encode_even(even_E, even)
        encoder.encode(codes_E, probabilities_EA)
        words.append(encoder.words())
    assert words[0].dtype == np.uint32
    assert words[0].tobytes() == words[1].tobytes()
    for decoder in (PlainDecoder(words[0]), CompiledDecoder(stream, words[0])):
        assert np.array_equal(decoder.decode(probabilities_EA), codes_E)
        assert np.array_equal(decoder.decode_even(len(even_E), even), even_E)
        assert np.array_equal(decoder.decode(probabilities_EA), codes_E)


def test_carries_run_through_many_words() -> None:
    """Of codes that are always the last one the stream is all ones for long, until one code is another."""
    sure = np.array([[1e-7, 1.0]], np.float32).repeat(40_000, axis=0)
    codes_E = np.ones(40_000, np.int32)
    half = np.full((80, 2), 0.5, np.float32)
    words = []
    for encoder in (PlainEncoder(), CompiledEncoder(stream)):
        for tail in (0, 1, 0):
            encoder.encode(np.full(80, tail, np.int32), half)
            encoder.encode(codes_E, sure)
        words.append(encoder.words().tobytes())
    assert words[0] == words[1]


def test_nothing_at_all_is_no_words() -> None:
    assert PlainEncoder().words().size == CompiledEncoder(stream).words().size == 0


@pytest.mark.parametrize("seed", range(20))
def test_noise_ends_both_decoders_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 1 << 32, 6, dtype=np.uint64).astype(np.uint32)
    noise[: seed % 4] = (1 << 32) - 1
    _, probabilities_EA, _, _ = a_message(seed, 60, 5, 3.0)
    ends = []
    for decoder in (PlainDecoder(noise), CompiledDecoder(stream, noise)):
        try:
            ends.append(decoder.decode(probabilities_EA).tolist())
        except ValueError:
            ends.append("refused")
    assert ends[0] == ends[1]


def test_codecs_give_the_same_bytes_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from ecofed.activations.entropy import position_coder, range_coder

    rng = np.random.default_rng(4)
    plain = np.clip(rng.geometric(0.5, (6, 5, 4, 4)) - 1, 0, 15).astype(np.uint8)
    wide = np.clip(128 + np.rint(rng.laplace(0, 9, (6, 5, 4, 4))), 0, 255).astype(np.uint8)
    for coder, codes, bits in ((range_coder, plain, 4), (range_coder, wide, 8), (position_coder, wide, 8)):
        compiled = coder.compress(codes, bits)
        with monkeypatch.context() as patch:
            patch.setattr(coders, "_compiled", lambda: None)
            assert coder.compress(codes, bits) == compiled
            assert np.array_equal(coder.decompress(compiled, codes.shape, bits), codes)
