"""Values that are stored come back with type, order and names."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import DataError
from jaxmice.model import role
from jaxmice.storage.values import Packer, unpack


def _round_trip(value: Any) -> Any:
    packer = Packer()
    text = json.dumps(packer.pack(value))
    return unpack(json.loads(text), packer.arrays)


SERIES = {
    "float": pd.Series([1.5, np.nan, 1 / 3]),
    "single": pd.Series([1.5, np.nan], dtype="float32"),
    "whole": pd.Series([1, 2**62 + 1]),
    "small": pd.Series([1, 2], dtype="uint8"),
    "nullable": pd.Series([1, None, 2**62 + 1], dtype="Int64"),
    "nullable_float": pd.Series([1.5, None], dtype="Float32"),
    "truth": pd.Series([True, False]),
    "nullable_truth": pd.Series([True, None], dtype="boolean"),
    "text": pd.Series(["a", None, "é"], dtype="string"),
    "object": pd.Series(["a", None, np.nan, 2, True, 1.5, pd.NA], dtype=object),
    "time": pd.Series(pd.to_datetime(["2020-01-01 10:00:00.123456789", None])),
    "zoned": pd.Series(pd.to_datetime(["2020-07-01", None]).tz_localize("Europe/Amsterdam")),
    "span": pd.Series(pd.to_timedelta([1, None], unit="h")),
    "category": pd.Series(pd.Categorical(["b", None, "a"], ["b", "unused", "a"])),
    "ordered": pd.Series(pd.Categorical([3, 1, None], [3, 1], ordered=True)),
}


@pytest.mark.parametrize("name", SERIES)
def test_storage_columns_come_back(name: str) -> None:
    series = SERIES[name].rename("x")
    frame = series.to_frame()
    pd.testing.assert_frame_equal(_round_trip(frame), frame)
    if name == "object":
        types = [type(value) for value in _round_trip(frame)["x"]]
        assert types == [type(value) for value in series]


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(5, 1, -2, name="n"),
        pd.Index(["a", "b"]),
        pd.Index([1.5, 2.5], name=("a", 1)),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None]),
        pd.DatetimeIndex(["2020-01-01", "2021-01-01"]),
        pd.CategoricalIndex(["x", "y"]),
    ],
)
def test_storage_rows_come_back(index: pd.Index) -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=index)
    pd.testing.assert_frame_equal(_round_trip(frame), frame)


def test_storage_arguments_come_back() -> None:
    value = {
        "roles": {"y": role.cluster("g") + role.random("x"), "*": {"z": "none"}},
        3: [None, (1, "a"), float("inf"), np.float64(0.1), np.int8(3)],
        ("a", 1): range(3),
    }
    again = _round_trip(value)
    assert again["roles"] == value["roles"]
    assert again[3] == value[3]
    assert again["a", 1] == (0, 1, 2)
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    np.testing.assert_array_equal(_round_trip([array])[0], array)
    for step in (jm.post.squeeze(0), jm.post.round(1), jm.post.delta({"a": 1.0}, where="x > 1")):
        assert repr(_round_trip(step)) == repr(step)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (lambda x: x, r"E72: here is of type function.*jaxmice.post"),
        ({"k": object()}, "E72: here: k is of type object"),
        (pd.Series(pd.period_range("2020", periods=2, freq="D")), r"E72: here is of dtype period"),
    ],
)
def test_storage_refuses_what_it_cannot_store(value: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        Packer().pack(value, "here")
