"""Completed data in every layout."""

import time

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import DataError
from jaxmice.frame import complete, complete_one

DATA = pd.DataFrame(
    {
        "y": [1.0, np.nan, np.nan],
        "k": pd.array([1, None, 3], dtype="Int64"),
        "c": pd.Categorical(["a", "b", None], categories=["a", "b", "never"]),
        "s": ["u", None, "w"],
        "z": np.array([1, 2, 3], dtype="int8"),
    },
    index=["p", "q", "r"],
)
POSITIONS = {"y": [1, 2], "k": [1], "c": [2], "s": [1]}


def cells(i):
    drawn = {
        "y": pd.Series([i + 0.1, i + 0.2]),
        "k": pd.Series([i * 10], dtype="Int64"),
        "c": pd.Series(pd.Categorical(["ab"[i % 2]], dtype=DATA["c"].dtype)),
        "s": pd.Series([f"s{i}"], dtype=DATA["s"].dtype),
    }
    return {n: (np.array(POSITIONS[n]), v) for n, v in drawn.items()}


def ask(action=1, **options):
    return complete(DATA, 2, cells, action, **options)


def test_one_keeps_everything_but_the_cells():
    before = DATA.copy(deep=True)
    out = complete_one(DATA, cells(1))
    pd.testing.assert_frame_equal(DATA, before)
    pd.testing.assert_index_equal(out.index, DATA.index)
    pd.testing.assert_series_equal(out.dtypes, DATA.dtypes)
    assert out["y"].tolist() == [1.0, 1.1, 1.2]
    assert out["k"].tolist() == [1, 10, 3]
    assert out["c"].tolist() == ["a", "b", "b"]
    assert out["s"].tolist() == ["u", "s1", "w"]
    out.loc["p", "z"] = 9
    pd.testing.assert_frame_equal(DATA, before)


@pytest.mark.parametrize("index", [[0, 0, 0], pd.MultiIndex.from_tuples([(1, 2), (1, 2), (3, 4)])])
def test_rows_are_found_by_position(index):
    out = complete_one(DATA.set_axis(index), cells(2))
    assert out["y"].tolist() == [1.0, 2.1, 2.2]


def test_widened_cells_widen_the_column():
    data = pd.DataFrame({"x": [1, 2], "z": [0, 0]})
    drawn = pd.Series([2.5], dtype="Float64")
    out = complete_one(data, {"x": (np.array([1]), drawn)})
    assert out["x"].dtype == "Float64"
    assert out["x"].tolist() == [1.0, 2.5]
    long = complete(data, 2, lambda _: {"x": (np.array([1]), drawn)}, "long", include=True)
    assert long["x"].dtype == "Float64"


@pytest.mark.parametrize("i", [1, np.int64(2)])
def test_number(i):
    pd.testing.assert_frame_equal(ask(i), complete_one(DATA, cells(int(i))))


def test_zero_is_the_original():
    out = ask(0)
    pd.testing.assert_frame_equal(out, DATA)
    assert out is not DATA


@pytest.mark.parametrize("action", [[2, 0, 1], (2, 0, 1), np.array([2, 0, 1])])
def test_list(action):
    expected = pd.concat([ask(2), DATA, ask(1)], ignore_index=True)
    pd.testing.assert_frame_equal(ask(action), expected)


def test_list_with_original():
    pd.testing.assert_frame_equal(ask([2], include=True), ask([0, 2]))
    pd.testing.assert_frame_equal(ask([2, 0], include=True), ask([2, 0]))


def test_all():
    out = ask("all")
    assert list(out) == [1, 2]
    pd.testing.assert_frame_equal(out[2], ask(2))
    assert list(ask("all", include=True)) == [0, 1, 2]


@pytest.mark.parametrize("include", [False, True])
def test_long_and_stacked(include):
    numbers = [0, 1, 2] if include else [1, 2]
    stacked = pd.concat([ask(i) for i in numbers], ignore_index=True)
    pd.testing.assert_frame_equal(ask("stacked", include=include), stacked)
    long = ask("long", include=include)
    assert list(long) == [*DATA, ".imp", ".id"]
    assert long[".imp"].tolist() == np.repeat(numbers, 3).tolist()
    assert long[".imp"].dtype == np.int64
    assert long[".id"].tolist() == ["p", "q", "r"] * len(numbers)
    pd.testing.assert_frame_equal(long[list(DATA)], stacked)
    assert isinstance(long.index, pd.RangeIndex)
    assert isinstance(ask("stacked").index, pd.RangeIndex)
    pd.testing.assert_series_equal(long[list(DATA)].dtypes, DATA.dtypes)


def test_long_columns():
    assert list(ask("long", order="first")) == [".imp", ".id", *DATA]
    out = ask("long", imp_column="_mi_m", id_column="_mi_id")
    assert list(out)[-2:] == ["_mi_m", "_mi_id"]


def test_long_ids_of_a_multi_index():
    index = pd.MultiIndex.from_tuples([(1, 2), (1, 3), (3, 4)])
    out = complete(DATA.set_axis(index), 1, cells, "long")
    assert out[".id"].tolist() == index.tolist()


def test_broad_and_repeated():
    broad = ask("broad")
    assert list(broad) == [f"{c}.{i}" for i in (1, 2) for c in DATA]
    pd.testing.assert_index_equal(broad.index, DATA.index)
    assert broad["y.2"].tolist() == [1.0, 2.1, 2.2]
    repeated = ask("repeated", include=True)
    assert list(repeated) == [f"{c}.{i}" for c in DATA for i in (0, 1, 2)]
    pd.testing.assert_frame_equal(repeated[list(broad)], broad)


@pytest.mark.parametrize("order", ["last", "first"])
def test_lazy(order):
    parts = ask("long", lazy=True, include=True, order=order)
    assert not isinstance(parts, pd.DataFrame)
    pd.testing.assert_frame_equal(pd.concat(list(parts)), ask("long", include=True, order=order))
    pairs = ask("all", lazy=True)
    assert next(pairs)[0] == 1
    i, frame = next(pairs)
    assert i == 2
    pd.testing.assert_frame_equal(frame, ask(2))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"action": "lng"}, r"unknown action 'lng'; did you mean 'long'\? \(or a number from 0 to"),
        ({"action": 3}, r"action must be a number from 0 \(the original\) to 2, .*; got 3"),
        ({"action": -1}, "got -1"),
        ({"action": True}, "got True"),
        ({"action": 1.0}, r"got 1\.0"),
        ({"action": None}, "got None"),
        ({"action": []}, r"got \[\]"),
        ({"action": [1, 5, "a"]}, "got 5, 'a'"),
        ({"action": 1, "include": True}, r"use action=\[0, 1\]"),
        ({"action": "long", "order": "middle"}, "order must be 'last' or 'first'"),
        ({"action": "broad", "lazy": True}, "lazy=True needs action 'all' or 'long'"),
        ({"action": [1], "lazy": True}, "lazy=True needs action"),
        ({"action": "long", "imp_column": "y"}, "data already has 'y'"),
        ({"action": "long", "imp_column": "i", "id_column": "i", "lazy": True}, "they are equal"),
    ],
)
def test_arguments_that_make_no_sense(options, text):
    with pytest.raises(DataError, match=text) as caught:
        ask(**options)
    assert caught.value.code == "E54"


def test_a_long_frame_is_made_fast():
    rng = np.random.default_rng(1)
    data = pd.DataFrame(rng.normal(size=(2000, 7)), columns=list("abcdefg"))
    where = np.arange(0, 2000, 3)
    drawn = [pd.Series(rng.normal(size=where.size)) for _ in range(100)]
    start = time.perf_counter()
    out = complete(data, 100, lambda i: {c: (where, drawn[i - 1]) for c in "abc"}, "long")
    assert time.perf_counter() - start < 1  # 0.05 s on an idle machine
    assert out.shape == (200_000, 9)
