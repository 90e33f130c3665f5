"""Codecs: exact sizes, bit-exact round trips of their codes, and refusal of everything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ecofed.activations import CODECS, Codec, make_codec
from ecofed.activations.codecs import pack, unpack
from ecofed.activations.codecs.lloyd_max import LEVELS
from ecofed.errors import ConfigError, WireError

SHAPE = (3, 5, 4)
UPPER = np.array([0.5, 2.0, 100.0], np.float32)
bits_st = st.integers(1, 8)
activations = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 7), *(st.just(size) for size in SHAPE)),
    elements=st.floats(0, 200, width=32),
)


#: Those that code each entry for itself; "dct" has tests of its own.
OF_ENTRIES = [name for name in CODECS if name != "dct"]


def codec(name: str, bits: int = 4) -> Codec:
    least, most = {"minmax": (8, 8), "dct": (8, 8), "lloyd-max": (2, 4), "top-k": (1, 7)}.get(name, (1, 8))
    return make_codec(name, min(max(bits, least), most), SHAPE, UPPER, density=0.25)


def decoded(one: Codec, h_NCHW: np.ndarray, batch_size: int = 3) -> np.ndarray:
    encoded = one.encode(h_NCHW, batch_size)
    rows, scale_N = one.open(encoded.rows.tobytes(), len(h_NCHW), encoded.scales, batch_size)
    return one.decode(rows, scale_N)


@given(bits_st, st.integers(1, 40), st.integers(0, 4), st.randoms(use_true_random=False))
def test_packed_codes_come_back_and_take_no_more_than_their_bits(bits: int, entries: int, rows: int, random) -> None:  # type: ignore[no-untyped-def]
    codes = np.array([[random.randrange(1 << bits) for _ in range(entries)] for _ in range(rows)], np.uint8)
    codes = codes.reshape(rows, entries)
    packed = pack(codes, bits)
    assert packed.shape == (rows, -(-entries * bits // 8))
    assert np.array_equal(unpack(packed, bits, entries), codes)


def test_the_first_code_lies_in_the_low_bits() -> None:
    assert pack(np.array([[1, 2, 3, 0]], np.uint8), 2).tolist() == [[0b00_11_10_01]]
    assert pack(np.array([[5, 3, 7]], np.uint8), 3).tolist() == [[0b11_011_101, 0b1]]


@pytest.mark.parametrize("name", CODECS)
@given(h_NCHW=activations, bits=bits_st)
def test_an_upload_has_the_size_that_was_announced(name: str, h_NCHW: np.ndarray, bits: int) -> None:
    one = codec(name, bits)
    encoded = one.encode(h_NCHW, 3)
    assert encoded.rows.dtype == np.uint8
    assert encoded.rows.shape == (len(h_NCHW), one.row_bytes)
    assert encoded.scales.shape == (one.scales_of(len(h_NCHW), 3),)


@pytest.mark.parametrize("name", OF_ENTRIES)
@given(h_NCHW=activations, bits=bits_st)
def test_decoding_and_encoding_again_gives_the_same_codes(name: str, h_NCHW: np.ndarray, bits: int) -> None:
    one = codec(name, bits)
    first = one.encode(h_NCHW, 3)
    rows, scale_N = one.open(first.rows.tobytes(), len(h_NCHW), first.scales, 3)
    again = one.encode(one.decode(rows, scale_N), 3)
    if name == "top-k":  # which of several zeros the mask keeps makes no difference
        assert np.array_equal(one.decode(again.rows), one.decode(rows))
    else:
        assert np.array_equal(again.rows, first.rows)


@given(h_NCHW=activations, bits=bits_st)
def test_uniform_is_off_by_half_a_step_at_most_and_clips_above_its_limit(h_NCHW: np.ndarray, bits: int) -> None:
    clipped = np.minimum(h_NCHW, UPPER.reshape(-1, 1, 1))
    step = UPPER.reshape(-1, 1, 1) / ((1 << bits) - 1)
    assert (np.abs(decoded(codec("uniform", bits), h_NCHW) - clipped) <= step * 0.5001).all()


@given(h_NCHW=activations, bits=st.integers(2, 4))
def test_lloyd_max_decodes_to_the_nearest_of_its_levels(h_NCHW: np.ndarray, bits: int) -> None:
    levels_K = np.array(LEVELS[bits]) * UPPER.reshape(-1, 1, 1, 1)
    best = np.abs(h_NCHW[..., None] - levels_K).min(axis=-1)
    assert (np.abs(decoded(codec("lloyd-max", bits), h_NCHW) - h_NCHW) <= best * 1.0001 + 1e-4).all()


def test_lloyd_max_is_closer_than_equal_steps_on_values_that_are_mostly_small() -> None:
    h_NCHW = np.random.default_rng(0).exponential(0.25, (50, *SHAPE)).astype(np.float32) * UPPER.reshape(-1, 1, 1)
    for bits in (2, 3, 4):
        errors = [np.square(decoded(codec(name, bits), h_NCHW) - h_NCHW).sum() for name in ("lloyd-max", "uniform")]
        assert errors[0] < errors[1]


@given(h_NCHW=activations, bits=st.integers(1, 7))
def test_top_k_keeps_the_largest_entries_in_units_of_their_limits(h_NCHW: np.ndarray, bits: int) -> None:
    one = codec("top-k", bits)
    result, symbols = decoded(one, h_NCHW), one.symbols(one.encode(h_NCHW, 3).rows)
    relative = np.minimum(h_NCHW / UPPER.reshape(-1, 1, 1), 2)
    for sample, kept in zip(relative, symbols > 0, strict=True):
        assert kept.sum() == 15
        assert sample[kept].min() >= sample[~kept].max() - 1e-6
    step = UPPER.reshape(-1, 1, 1) / ((1 << bits) - 1)
    inside = (symbols > 0) & (h_NCHW <= UPPER.reshape(-1, 1, 1))
    assert (np.abs(result - h_NCHW) <= step * 0.5001)[inside].all()


def test_a_mask_that_keeps_too_few_is_refused() -> None:
    one = codec("top-k", 2)
    rows = one.encode(np.ones((2, *SHAPE), np.float32), 3).rows.copy()
    rows[1, 0] = 0
    with pytest.raises(WireError, match="mask"):
        one.open(rows.tobytes(), 2, np.empty(0, np.float32), 3)


@given(h_NCHW=activations)
def test_minmax_is_off_by_half_a_step_of_its_batch_at_most(h_NCHW: np.ndarray) -> None:
    result = decoded(codec("minmax"), h_NCHW, batch_size=2)
    for at in range(0, len(h_NCHW), 2):
        batch = slice(at, at + 2)
        assert np.abs(result[batch] - h_NCHW[batch]).max() <= h_NCHW[batch].max() / 127 * 0.5001 + 1e-30


@given(h_NCHW=activations)
def test_float32_is_lossless(h_NCHW: np.ndarray) -> None:
    assert np.array_equal(decoded(codec("float32"), h_NCHW), h_NCHW)


@pytest.mark.parametrize("name", OF_ENTRIES)
def test_an_activation_that_is_all_zero_stays_zero(name: str) -> None:
    zero = np.zeros((4, *SHAPE), np.float32)
    assert not decoded(codec(name), zero).any()
    assert codec(name).encode(zero, 3).saturated_fraction == 0


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_entry_is_refused(name: str, bad: float) -> None:
    h_NCHW = np.ones((2, *SHAPE), np.float32)
    h_NCHW[1, 2, 3, 1] = bad
    with pytest.raises(WireError, match="non-finite"):
        codec(name).encode(h_NCHW, 3)


@pytest.mark.parametrize("name", CODECS)
def test_an_activation_of_another_shape_is_refused(name: str) -> None:
    with pytest.raises(WireError, match="expected"):
        codec(name).encode(np.zeros((2, 3, 4, 5), np.float32), 3)


def test_the_saturated_fraction_counts_entries_above_the_limit() -> None:
    h_NCHW = np.zeros((2, *SHAPE), np.float32)
    h_NCHW[0, 0] = 0.6
    h_NCHW[0, 1] = 2.0  # at the limit, not above it
    assert codec("uniform").encode(h_NCHW, 3).saturated_fraction == 20 / 120


@pytest.mark.parametrize("name", CODECS)
def test_uploads_of_the_wrong_length_are_refused(name: str) -> None:
    one = codec(name)
    encoded = one.encode(np.ones((4, *SHAPE), np.float32), 3)
    codes = encoded.rows.tobytes()
    for wrong in (codes[:-1], codes + b"\0", b""):
        with pytest.raises(WireError, match="samples need"):
            one.open(wrong, 4, encoded.scales, 3)
    with pytest.raises(WireError, match="scales"):
        one.open(codes, 4, np.ones(7, np.float32), 3)
    with pytest.raises(WireError, match="rows of"):
        one.decode(encoded.rows[:, :-1], None)


@pytest.mark.parametrize("scale", [-1.0, np.nan, np.inf])
def test_an_impossible_scale_is_refused(scale: float) -> None:
    one = codec("minmax")
    with pytest.raises(WireError, match="scale"):
        one.open(bytes(one.row_bytes), 1, np.array([scale], np.float32), 3)


def test_floats_that_are_not_numbers_are_refused_on_arrival() -> None:
    one = codec("float32")
    with pytest.raises(WireError, match="non-finite"):
        one.open(np.full(one.entries, np.nan, "<f4").tobytes(), 1, np.empty(0, np.float32), 3)


def test_minmax_without_scales_is_refused() -> None:
    one = codec("minmax")
    with pytest.raises(WireError, match="one scale a row"):
        one.decode(np.zeros((2, one.row_bytes), np.uint8), None)


@pytest.mark.parametrize("upper", [None, UPPER[:2], np.array([1, 0, 1], np.float32), UPPER * np.float32(np.nan)])
def test_limits_that_do_not_fit_are_a_configuration_error(upper: np.ndarray | None) -> None:
    with pytest.raises(ConfigError, match="limit"):
        make_codec("uniform", 4, SHAPE, upper)


def test_an_unknown_codec_is_a_configuration_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'uniform'"):
        make_codec("unifrom", 4, SHAPE, UPPER)
