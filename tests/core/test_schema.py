"""Values read from files are checked against types, and plain values are JSON values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import DataError
from zoo.schema import Count, Record, plain, read_record


class Inner(Record):
    values: tuple[float, ...]


class Outer(Record, omit_defaults=True):
    name: str
    count: Count
    inner: Mapping[str, Inner]
    place: Path | None = None


WHOLE = {"name": "a", "count": 3, "inner": {"x": {"values": [1, 2.5]}}}


def test_plain_values_come_back_as_they_were():
    outer = read_record(WHOLE, Outer, what="it")
    assert outer == Outer(name="a", count=3, inner={"x": Inner(values=(1.0, 2.5))})
    assert plain(outer) == WHOLE
    assert json.loads(json.dumps(plain(outer))) == plain(outer)
    assert read_record(json.loads(json.dumps(plain(outer))), Outer, what="it") == outer


def test_paths_become_texts_and_other_objects_are_refused():
    assert plain(Outer(name="a", count=1, inner={}, place=Path("b/c")))["place"] == "b/c"
    with pytest.raises(TypeError, match="float64 cannot be stored"):
        plain(Inner(values=(np.float64(1),)))


def test_numbers_that_are_not_finite_are_read():
    [value] = read_record(json.loads('{"values": [NaN]}'), Inner, what="it").values
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"more": 1}, "unknown field `more`"),
        ({"name": 3}, "Expected `str`, got `int` - at `$.name`"),
        ({"count": True}, "Expected `int`, got `bool` - at `$.count`"),
        ({"count": -1}, "`$.count`"),
        ({"count": 10**400}, "`$.count`"),
        ({"inner": {"x": {"values": ["1"]}}}, "Expected `float`, got `str` - at `$.inner[...].values[0]`"),
        ({"inner": {"x": {"values": [10**400]}}}, "`$.inner[...].values[0]`"),
    ],
)
def test_invalid_values_are_reported_by_field(change, words):
    with pytest.raises(DataError) as caught:
        read_record({**WHOLE, **change}, Outer, what="some.json")
    assert str(caught.value).startswith("some.json is damaged: ")
    assert words in str(caught.value)


def test_records_are_frozen():
    inner = Inner(values=())
    with pytest.raises(AttributeError):
        inner.values = (1.0,)
