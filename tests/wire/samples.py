"""Hypothesis strategies for every message of the wire schema, made from the schema itself."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ecofed.wire.fields import Array, Blob, Field, Flag, Real, TensorDict, Text, UInt
from ecofed.wire.messages import REGISTRY, Message, schema

finite = st.floats(-(2.0**99), 2.0**99, width=32)
names = st.text("abcdefgh.0123456789_", min_size=1, max_size=12)


def _shapes(rank: int | None) -> st.SearchStrategy[tuple[int, ...]]:
    return npst.array_shapes(min_dims=rank or 1, max_dims=rank or 4, min_side=0, max_side=3)


def _array(field: Array) -> st.SearchStrategy[np.ndarray]:
    kinds = [
        npst.arrays(dtype, _shapes(field.rank), elements=finite if dtype == "f4" else None) for dtype in field.dtypes
    ]
    return st.one_of(kinds)


def _values(field: Field) -> st.SearchStrategy[Any]:
    match field:
        case UInt():
            return st.integers(0, field.limit)
        case Flag():
            return st.booleans()
        case Real():
            return finite
        case Text():
            return st.text(max_size=field.limit // 4)
        case Blob():
            return st.binary(max_size=64)
        case Array():
            return _array(field)
        case TensorDict():
            shapes = npst.array_shapes(max_dims=3, max_side=3)
            return st.dictionaries(names, npst.arrays("f4", shapes, elements=finite), max_size=3)
    raise AssertionError(f"no strategy for {type(field).__name__}")


@cache
def messages_of(cls: type[Message]) -> st.SearchStrategy[Message]:
    """Instances of one message class. A strategy that is made anew for each example takes as long as the example."""
    return st.builds(cls, **{name: _values(field) for name, field in schema(cls)})


any_message = st.sampled_from(list(REGISTRY.values())).flatmap(messages_of)
