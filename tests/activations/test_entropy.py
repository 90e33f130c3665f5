"""Entropy coding: lossless, never larger by more than a byte, bounded memory, nothing but WireError."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecofed.activations import Codec, compress, decompress, make_codec
from ecofed.activations.entropy import MAX_DECODED_BYTES, range_coder
from ecofed.errors import WireError

SHAPE = (3, 4, 5)
ENTROPIES = ("none", "deflate", "range")


def codec(bits: int = 2, name: str = "uniform") -> Codec:
    return make_codec(name, bits, SHAPE, np.ones(3, np.float32))


def packed(one: Codec, samples: int, seed: int = 0, sharpness: float = 3.0) -> bytes:
    """Rows of smooth, skewed activations, as fronts make them."""
    random = np.random.default_rng(seed)
    h_NCHW = (random.random((samples, 3, 1, 1)) * random.random((samples, *SHAPE)) ** sharpness).astype(np.float32)
    return one.encode(h_NCHW, 10).rows.tobytes()


@pytest.mark.parametrize("entropy", ENTROPIES)
@given(
    bits=st.integers(1, 8), samples=st.integers(0, 30), seed=st.integers(0, 99), sharpness=st.sampled_from([0, 1, 9])
)
def test_what_is_coded_comes_back(entropy: str, bits: int, samples: int, seed: int, sharpness: float) -> None:
    one = codec(bits)
    codes = packed(one, samples, seed, sharpness)
    data = compress(codes, samples, one, entropy)
    assert decompress(data, samples, one, entropy) == codes
    assert len(data) <= len(codes) + 1


@pytest.mark.parametrize(("name", "bits"), [("minmax", 8), ("float32", 8), ("lloyd-max", 3), ("top-k", 2)])
def test_other_codecs_are_coded_too(name: str, bits: int) -> None:
    one = codec(bits, name)
    codes = packed(one, 60)
    for entropy in ("deflate", "range") if one.symbol_bits else ("deflate",):
        assert decompress(compress(codes, 60, one, entropy), 60, one, entropy) == codes
        assert len(compress(codes, 60, one, entropy)) < len(codes)


def test_coding_is_deterministic_and_the_range_coder_wins_on_neighbours_that_are_alike() -> None:
    one = make_codec("uniform", 2, (4, 8, 8), np.ones(4, np.float32))
    noise = np.random.default_rng(0).normal(size=(200, 4, 10, 10))
    blurred = sum(noise[:, :, y : y + 8, x : x + 8] for y in range(3) for x in range(3)) / 6
    codes = one.encode(np.clip(blurred, 0, 1).astype(np.float32), 10).rows.tobytes()
    sizes = {entropy: len(compress(codes, 200, one, entropy)) for entropy in ENTROPIES}
    assert sizes["range"] < 0.9 * sizes["deflate"]
    assert sizes["deflate"] < 0.9 * sizes["none"]
    assert compress(codes, 200, one, "range") == compress(codes, 200, one, "range")


def test_rows_that_nothing_shortens_travel_as_they_are() -> None:
    one = codec(8)
    codes = np.random.default_rng(0).bytes(2 * one.row_bytes)
    assert compress(codes, 2, one, "deflate") == b"\0" + codes


@pytest.mark.parametrize("entropy", ["deflate", "range"])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_damage_is_a_wire_error_or_other_codes_of_the_same_length(entropy: str, at: int, value: int) -> None:
    one = codec(2)
    data = bytearray(compress(packed(one, 40), 40, one, entropy))
    data[at % len(data)] = value
    try:
        opened = decompress(bytes(data), 40, one, entropy)
    except WireError:
        return
    assert len(opened) == 40 * one.row_bytes


@pytest.mark.parametrize("entropy", ["deflate", "range"])
@given(data=st.binary(max_size=60), samples=st.integers(0, 50))
def test_anything_at_all_is_a_wire_error_or_rows(entropy: str, data: bytes, samples: int) -> None:
    one = codec(2)
    try:
        rows, _ = one.open(decompress(data, samples, one, entropy), samples, np.empty(0, np.float32), 10)
    except WireError:
        return
    assert rows.shape == (samples, one.row_bytes)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    one = codec(2)
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"\1" + coder.compress(bytes(10_000_000)) + coder.flush()
    with pytest.raises(WireError, match="another length"):
        decompress(bomb, 40, one, "deflate")
    with pytest.raises(WireError, match="are allowed"):
        decompress(bomb, MAX_DECODED_BYTES, one, "deflate")


@pytest.mark.parametrize("entropy", ["deflate", "range"])
def test_an_upload_that_ends_early_or_late_is_refused(entropy: str) -> None:
    one = codec(2)
    data = compress(packed(one, 40, sharpness=0.5), 40, one, entropy)
    odd = "its words have 4" if entropy == "range" else "another length"
    for wrong, told in (
        (data[:-4], "another length"),
        (data[:-3], odd),
        (data + b"\1\2\3\4", "another length"),
        (b"", "in way none"),
        (b"\7" + data[1:], "in way 07"),
    ):
        with pytest.raises(WireError, match=told):
            decompress(wrong, 40, one, entropy)


def test_what_has_no_symbols_is_deflated_or_sent_as_it_is() -> None:
    rows = packed(codec(8, "float32"), 2)
    assert compress(rows, 2, codec(8, "float32"), "range") == compress(rows, 2, codec(8, "float32"), "deflate")


@given(st.integers(1, 8), st.integers(0, 2**31), st.sampled_from([0, 1, 3]))
@settings(max_examples=40)
def test_no_stream_is_shorter_than_the_least(bits: int, seed: int, spread: int) -> None:
    """Whatever the codes: all alike, nearly so, or noise."""
    draw = np.random.default_rng(seed)
    shape = tuple(int(size) for size in draw.integers(1, 7, 4))
    codes = draw.integers(0, min(1 << bits, 1 + spread), shape).astype(np.uint8)
    least = range_coder.least_bytes(shape, bits)  # type: ignore[arg-type]
    assert least <= len(range_coder.compress(codes, bits))


def test_the_least_is_near_what_equal_codes_take() -> None:
    for bits, shape in ((4, (5000, 8, 1, 1)), (8, (300, 4, 8, 8))):
        coded = len(range_coder.compress(np.zeros(shape, np.uint8), bits))
        assert 0.95 * coded - 16 < range_coder.least_bytes(shape, bits) <= coded


@pytest.mark.parametrize("entropy", ["deflate", "range"])
def test_an_honest_upload_is_always_accepted_however_well_it_could_be_compressed(entropy: str) -> None:
    """Four million equal codes: coded a little longer, so that few bytes never stand for much work."""
    wide = make_codec("uniform", 2, (8, 8, 8), np.ones(8, np.float32))
    samples = 8000
    codes = bytes(samples * wide.row_bytes)
    coded = compress(codes, samples, wide, entropy)
    assert decompress(coded, samples, wide, entropy) == codes
    assert len(coded) < len(codes) // 30


@pytest.mark.parametrize(
    ("coded", "told"),
    [
        (b"\x02" + bytes(4), "coded bytes for 51200000 entries"),
        (b"\x01" + bytes(50), "coded bytes for 12800000 bytes"),
        (b"\x00" + bytes(50), "samples need 12800000"),
        (b"\x03", "coded in way 03"),
        (b"", "coded in way none"),
    ],
)
def test_few_bytes_for_much_are_refused_before_anything_is_decoded(coded: bytes, told: str) -> None:
    wide = make_codec("uniform", 2, (8, 8, 8), np.ones(8, np.float32))
    with pytest.raises(WireError, match=told):
        decompress(coded, 100_000, wide, "range")
