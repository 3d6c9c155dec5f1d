"""Coded values go back to the dtype of their column."""

import hypothesis
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from jaxmice.errors import DataError, JaxMiceWarning, ModelError
from jaxmice.events import EventLog
from jaxmice.frame import complete_one, decode, encode

ORDERED = pd.CategoricalDtype(["lo", "never", "mid", "hi"], ordered=True)
DTYPES = {
    "float16": [0.5, None, 2],
    "float32": [0.1, None, 2],
    "float64": [0.1, None, 2],
    "Float32": [0.1, None, 2],
    "Float64": [0.1, None, 2],
    "int8": [-128, 5, 127],
    "int16": [1, 2, 3],
    "int32": [1, 2, 3],
    "int64": [1, 2, 3],
    "uint8": [0, 5, 255],
    "uint64": [1, 2, 3],
    "Int8": [1, None, 3],
    "Int64": [1, None, 0],
    "UInt16": [1, None, 3],
    "bool": [True, False, True],
    "boolean": [True, None, False],
    "str": ["b", None, "a"],
    "string": ["b", None, "a"],
    "object": ["b", np.nan, "a"],
    "category": ["b", None, "a"],
    ORDERED: ["hi", None, "lo"],
    pd.CategoricalDtype([3, 1, 2]): [2, None, 3],
}


def column_of(values, dtype):
    series = pd.Series(values, dtype=dtype, name="x")
    frame = encode(pd.DataFrame({"x": series, "z": range(len(series))}), events=EventLog())
    return series, frame.columns["x"]


@pytest.mark.parametrize(("dtype", "values"), DTYPES.items(), ids=str)
def test_round_trip(dtype, values):
    series, column = column_of(values, dtype)
    events = EventLog()
    pd.testing.assert_series_equal(decode(column, column.values, events=events), series)
    assert len(events) == 0
    # Some cells only, and none at all.
    pd.testing.assert_series_equal(decode(column, column.values[2:]), series[2:].set_axis([0]))
    assert decode(column, []).dtype == series.dtype


@pytest.mark.parametrize("values", [[True, np.nan, False], [1, np.nan, 3], [1.5, np.nan, 2]])
def test_round_trip_of_objects(values):
    series, column = column_of(values, "object")
    out = decode(column, column.values)
    pd.testing.assert_series_equal(out, series)
    assert isinstance(out[0], type(series[0]))


@pytest.mark.parametrize(
    ("dtype", "drawn"),
    [("int64", 2.5), ("Int64", 2.5), ("int8", 128.0), ("UInt8", -1.0), ("int64", 2.0**63)],
)
def test_integers_widen_when_they_must(dtype, drawn):
    _, column = column_of([1, 2, 3], dtype)
    events = EventLog()
    out = decode(column, [1.0, drawn], events=events, method="norm")
    assert out.dtype == "Float64"
    assert out.tolist() == [1.0, drawn]
    (event,) = events
    assert (event.event, event.dep, event.meth) == ("dtype_widened", "x", "norm")


def test_integers_with_missing_draws():
    _, column = column_of([1, 2, 3], "int64")
    out = decode(column, [1.0, np.nan])
    assert out.dtype == "Float64"
    assert out.isna().tolist() == [False, True]
    _, column = column_of([1, 2, 3], "Int64")
    assert decode(column, [1.0, np.nan]).dtype == "Int64"


def test_binary_numbers_keep_their_dtype():
    _, column = column_of([0, 1, None], "Int8")
    assert decode(column, [1.0, 0.0]).dtype == "Int8"


@pytest.mark.parametrize("codes", [[2.0], [-1.0], [0.5]])
def test_codes_that_are_none(codes):
    _, column = column_of(["a", "b", None], "category")
    with pytest.raises(ValueError, match="has the codes 0 to 1"):
        decode(column, codes)


def test_bool_cannot_be_missing():
    _, column = column_of([True, False], "bool")
    with pytest.raises(ValueError, match="cannot hold missing"):
        decode(column, [np.nan])


def test_e07():
    with pytest.warns(JaxMiceWarning, match="W05"):
        _, column = column_of(["2020-01-01", None], "datetime64[ns]")
    with pytest.raises(
        DataError, match=r"^E07: column 'x' is a date or duration; convert it to a number"
    ):
        decode(column, [1.0])


def test_ids_are_not_imputed():
    _, column = column_of([f"n{i}" for i in range(30)], "str")
    with pytest.raises(ModelError, match=r"^E22: column 'x' is text with many"):
        decode(column, [1.0])


numbers = st.floats(-1e6, 1e6, width=32)
cells = {
    "float32": numbers,
    "float64": numbers,
    "Float64": numbers,
    "Int32": st.integers(-1000, 1000),
    "boolean": st.booleans(),
    "string": st.sampled_from(["", "a", "b", "é"]),
    "object": st.sampled_from(["x", "y", "z"]),
    "category": st.sampled_from(["u", "v", "w"]),
}

MISSING = {dtype: np.nan if dtype == "object" else None for dtype in cells}


@st.composite
def frames(draw):
    n = draw(st.integers(2, 8))
    return pd.DataFrame(
        {
            f"{i}_{dtype}": pd.Series(
                draw(st.lists(st.just(MISSING[dtype]) | cells[dtype], min_size=n, max_size=n)),
                dtype=dtype,
            )
            for i, dtype in enumerate(draw(st.lists(st.sampled_from(list(cells)), min_size=2)))
        }
    )


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(frames())
@pytest.mark.filterwarnings("ignore:W06")
def test_round_trip_of_any_frame(data):
    before = data.copy(deep=True)
    frame = encode(data, events=EventLog())
    whole = np.arange(frame.n)
    filled = {n: (whole, decode(c, c.values)) for n, c in frame.columns.items()}
    pd.testing.assert_frame_equal(complete_one(data, filled), before)
    pd.testing.assert_frame_equal(data, before)
