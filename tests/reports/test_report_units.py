import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecofed.reports.units import fewer_or_more, human_bytes, human_seconds, times


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.6, "1.00 kB"),
        (4096, "4.10 kB"),
        (99_960, "100 kB"),
        (999_499, "999 kB"),
        (999_500, "1.00 MB"),
        (275_528_000, "276 MB"),
        (2_755_280_000_000, "2.76 TB"),
    ],
)
def test_bytes_have_three_digits_and_decimal_units(count: float, text: str) -> None:
    assert human_bytes(count) == text


@given(st.integers(0, 10**20))
def test_bytes_are_within_half_a_percent(count: int) -> None:
    match = re.fullmatch(r"([\d.,]+) (B|kB|MB|GB|TB|PB|EB)", human_bytes(count))
    assert match
    factor = 1000 ** ["B", "kB", "MB", "GB", "TB", "PB", "EB"].index(match[2])
    assert float(match[1].replace(",", "")) * factor == pytest.approx(count, rel=0.00501)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.213, "0.21 s"),
        (48.2, "48 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (86_400, "1 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"), [(1.04, "1.0x"), (34.2, "34x"), (99.96, "100x"), (134.5, "134x"), (112_345, "112,000x")]
)
def test_times(ratio: float, text: str) -> None:
    assert times(ratio) == text


def test_fewer_or_more() -> None:
    assert fewer_or_more(34.2) == "34x fewer"
    assert fewer_or_more(0.5) == "2.0x more"
    assert fewer_or_more(1.001) == "as many"
