"""The cosine codec, and the coder that makes few bytes of its codes."""

from __future__ import annotations

import numpy as np
import pytest

from ecofed.activations import compress, decompress
from ecofed.activations.codecs import make_codec
from ecofed.activations.codecs.dct import MIDDLE
from ecofed.activations.entropy import position_coder
from ecofed.errors import ConfigError, WireError
from ecofed.onnx import Graph, Session

SHAPE = (6, 4, 4)
LIMITS = np.ones(6, np.float32)
CODEC = make_codec("dct", 8, SHAPE, LIMITS)


def activations(count: int, steps: float = 3.0) -> np.ndarray:
    """Smooth maps around 0.5 that deviate by some steps, less in later channels."""
    random = np.random.default_rng(0)
    coarse = random.normal(size=(count, 6, 2, 2)).repeat(2, axis=2).repeat(2, axis=3)
    return (0.5 + coarse * steps / 255 / (1 + np.arange(6))[:, None, None]).astype(np.float32)


def test_what_comes_back_is_off_by_less_than_a_step_each_coefficient() -> None:
    h_NCHW = activations(20, steps=20)
    back_NCHW = CODEC.decode(CODEC.encode(h_NCHW, 1).rows)
    assert back_NCHW.shape == h_NCHW.shape
    # The transform keeps distances, and a coefficient is rounded to the next code, or to zero within 0.6.
    worst = 0.6 / 255 * np.sqrt(16)
    assert np.sqrt(np.square(back_NCHW - h_NCHW).sum(axis=(2, 3))).max() <= worst * 1.001
    np.testing.assert_array_equal(CODEC.encode(np.full((1, *SHAPE), 0.5, np.float32), 1).rows, MIDDLE)


def test_a_constant_map_is_one_coefficient() -> None:
    h_NCHW = np.full((1, *SHAPE), 0.5 + 10 / 255, np.float32)
    codes = CODEC.symbols(CODEC.encode(h_NCHW, 1).rows)[0].astype(int) - MIDDLE
    assert (codes[:, 0, 0] == 40).all()  # ten steps everywhere, times the root of 16 places
    assert np.count_nonzero(codes) == 6


def test_what_is_beyond_the_range_is_said_to_be() -> None:
    encoded = CODEC.encode(np.ones((2, *SHAPE), np.float32), 1)
    assert encoded.saturated_fraction == 1 / 16
    assert encoded.rows.max() == 255


@pytest.mark.parametrize("steps", [0.0, 0.4, 3.0, 40.0])
def test_codes_come_back_and_take_what_the_model_says(steps: float) -> None:
    rows = CODEC.encode(activations(60, steps), 1).rows
    data = compress(rows.tobytes(), 60, CODEC, "range")
    assert decompress(data, 60, CODEC, "range") == rows.tobytes()
    coded = position_coder.compress(CODEC.symbols(rows), 8)
    assert len(coded) == pytest.approx(position_coder.expected_bytes(CODEC.symbols(rows)), rel=0.05, abs=12)
    assert len(data) <= len(coded) + 1


def test_it_learns_where_codes_are_large() -> None:
    codes = np.full((200, *SHAPE), MIDDLE, np.uint8)
    codes[:, 5, 3, 3] = MIDDLE + np.random.default_rng(0).choice([-9, 9], 200)  # where least is expected
    first, all_of_them = (len(position_coder.compress(codes[:count], 8)) for count in (20, 200))
    assert all_of_them < 5 * first
    assert all_of_them < 200  # a bit for each sign, and next to nothing for where they stand


@pytest.mark.parametrize("count", [0, 1])
def test_of_few_samples(count: int) -> None:
    codes = np.full((count, *SHAPE), MIDDLE + 127, np.uint8)
    np.testing.assert_array_equal(position_coder.decompress(position_coder.compress(codes, 8), codes.shape, 8), codes)


def test_what_no_codes_have_is_refused() -> None:
    codes = CODEC.symbols(CODEC.encode(activations(10), 1).rows)
    data = position_coder.compress(codes, 8)
    for hostile in (data[:-4], data + bytes(4), data[:-2], bytes(len(data)), b"\xff" * len(data)):
        with pytest.raises(WireError, match="range-coded upload"):
            position_coder.decompress(hostile, codes.shape, 8)


def test_few_bytes_are_not_many_samples() -> None:
    with pytest.raises(WireError, match=r"upload of 8 coded bytes for 96000000 entries"):
        decompress(b"\2" + bytes(8), 1_000_000, CODEC, "range")


def test_it_has_eight_bits() -> None:
    with pytest.raises(ConfigError, match=r"the 'dct' codec is 8 bits; set codec\.bits=8"):
        make_codec("dct", 2, SHAPE, LIMITS)


def test_as_onnx_it_gives_what_comes_back() -> None:
    graph = Graph(SHAPE)
    session = Session(graph.encode(CODEC.to_onnx(graph, graph.input), SHAPE))
    h_NCHW = activations(20, steps=20)
    h_NCHW[0] = 2  # beyond the range
    expected_NCHW = CODEC.there_and_back(h_NCHW)
    # Sums in another order now and then round a coefficient to the neighbouring code: a step, over 16 places.
    assert np.abs(session(h_NCHW) - expected_NCHW).max() < 1.01 / 255 / 2
    assert np.isclose(session(h_NCHW), expected_NCHW, atol=1e-6).mean() > 0.99
