"""The fuzzer of ``make fuzz``, for a moment."""

from fuzz import fuzz


def test_mutations_are_refused_or_valid() -> None:
    refused, valid = fuzz(6000)
    assert refused + valid == 6000
    assert refused > 4000
