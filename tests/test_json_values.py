"""The one validator of JSON from files: bounds first, then types, every refusal names the field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from ecofed.files.json_values import Count, Fraction, Within, parse, read_as


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not valid JSON"),
        (b"\xff\xfe\xfd", "is not UTF-8 text|is not valid JSON"),
        ("[" * 100_000, "is nested deeper than 40 levels"),
        ("[" * 41 + "]" * 41, "is nested deeper than 40 levels"),
        ('{"a":' * 900 + "1" + "}" * 900, "is nested deeper than 40 levels"),
        ("[NaN]", "holds NaN, which is not JSON"),
        ("[-Infinity]", "holds -Infinity, which is not JSON"),
        ("[1e999]", "holds 1e999, which no float can hold"),
        ("9" * 10_000, "a whole number of 10,000 digits"),
        ('{"a": 1, "b": 2, "a": 3}', "has the key 'a' twice"),
    ],
)
def test_json_out_of_bounds_is_refused(text: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_json_within_bounds_is_read() -> None:
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": -(10**28)}}
    assert parse(json.dumps(value)) == parse(json.dumps(value).encode()) == value
    assert parse("[" * 40 + "]" * 40) != []


@dataclass(frozen=True)
class Inner:
    share: Fraction
    kind: Literal["x", "y"] = "x"


@dataclass(frozen=True)
class Outer:
    count: Count
    size: tuple[int, int]
    inner: list[Inner]
    mean: tuple[Annotated[float, Within(-1, 1)], ...] = ()
    free: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    flag: bool = False


GOOD: dict[str, Any] = {
    "count": 3,
    "size": [1, 2],
    "inner": [{"share": 0.5}, {"share": 1, "kind": "y"}],
    "mean": [0, 1],
}


def test_dataclasses_are_made_from_what_fits() -> None:
    made = read_as(Outer, GOOD | {"name": None, "free": {"a": [1]}})
    assert made == Outer(3, (1, 2), [Inner(0.5), Inner(1, "y")], (0, 1), {"a": [1]})
    assert [type(value) for value in made.mean] == [float, float]  # numpy takes no whole number of 25 digits


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"count": None}, "'count' must be a whole number, not null"),
        ({"count": True}, "'count' must be a whole number, not true"),
        ({"count": 3.0}, "'count' must be a whole number, not 3.0"),
        ({"count": -1}, "'count' must be in 0..9.0072e+15, not -1"),
        ({"size": [1]}, "'size' must be a list of 2, not a list of 1"),
        ({"size": {}}, "'size' must be a list, not an object"),
        ({"inner": [{"share": 0.5}, {}]}, "'inner[1]' lacks the field 'share'"),
        ({"inner": [{"share": 1.5}]}, "'inner[0].share' must be in 0..1, not 1.5"),
        ({"inner": [{"share": 1, "kind": "z"}]}, "'inner[0].kind' must be one of x, y, not 'z'"),
        ({"inner": [{"share": 1, "kind": ["x"]}]}, "'inner[0].kind' must be one of x, y, not a list of 1"),
        ({"inner": [7]}, "'inner[0]' must be an object, not 7"),
        ({"mean": [0, "0"]}, "'mean[1]' must be a finite number, not '0'"),
        ({"mean": [2]}, "'mean[0]' must be in -1..1, not 2"),
        ({"name": 3}, "'name' must be text, not 3"),
        ({"flag": 1}, "'flag' must be true or false, not 1"),
        ({"free": []}, "'free' must be an object, not a list of 0"),
        ({"more": 1}, "the whole has an unknown field 'more'"),
        ({"": 1}, "the whole has an unknown field ''"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        read_as(Outer, GOOD | change)
    assert str(caught.value) == words


def test_types_that_read_themselves() -> None:
    @dataclass(frozen=True)
    class Own:
        text: str

    assert read_as(list[Own], ["a"], readers={Own: Own}) == [Own("a")]
