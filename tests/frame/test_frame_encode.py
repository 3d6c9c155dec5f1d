"""Kinds, complaints, warnings and events of encode()."""

import time

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import DataError, JaxMiceWarning
from jaxmice.events import EventLog
from jaxmice.frame import Column, encode


def one(values, dtype=None, **options):
    """Code a column next to a complete one; return it with the log."""
    series = pd.Series(values, dtype=dtype)
    events = EventLog()
    frame = encode(pd.DataFrame({"x": series, "z": range(len(series))}), events=events, **options)
    return frame.columns["x"], events


def names(events):
    return [e.event for e in events]


def grouped(x, g, **options):
    """Code a column x in clusters g; five more clusters keep W08 away."""
    more = [f"more{i}" for i in range(5)]
    data = pd.DataFrame({"g": [*g, *more], "x": [*x, *[np.nan] * 5]})
    events = EventLog()
    return encode(data, cluster="g", events=events, **options), events


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "coded", "categories"),
    [
        ([1.5, None, 3], "float64", "continuous", [1.5, np.nan, 3], ()),
        ([1.5, None, 3], "float32", "continuous", [1.5, np.nan, 3], ()),
        ([1.5, None, 3], "float16", "continuous", [1.5, np.nan, 3], ()),
        ([1.5, None, 3], "Float64", "continuous", [1.5, np.nan, 3], ()),
        ([1.5, None, 3], "Float32", "continuous", [1.5, np.nan, 3], ()),
        ([0, None, 1], "float64", "binary_numeric", [0, np.nan, 1], ()),
        ([0, None, 0], "float64", "continuous", [0, np.nan, 0], ()),
        ([0, None, 1], "Int8", "binary_numeric", [0, np.nan, 1], ()),
        ([0, 1, 1], "uint8", "binary_numeric", [0, 1, 1], ()),
        ([0, 1, 2], "int64", "integer", [0, 1, 2], ()),
        ([0, None, 2], "UInt64", "integer", [0, np.nan, 2], ()),
        ([True, False, True], "bool", "binary", [1, 0, 1], (False, True)),
        ([True, None, False], "boolean", "binary", [1, np.nan, 0], (False, True)),
        ([True, None, False], "object", "binary", [1, np.nan, 0], (False, True)),
        ([1, None, 4], "object", "integer", [1, np.nan, 4], ()),
        ([1, None, 4.5], "object", "continuous", [1, np.nan, 4.5], ()),
        (["b", None, "a"], "str", "binary", [1, np.nan, 0], ("a", "b")),
        (["b", None, "a"], "string", "binary", [1, np.nan, 0], ("a", "b")),
        (["b", None, "a"], "object", "binary", [1, np.nan, 0], ("a", "b")),
        (["b", "c", "a"], "object", "nominal", [1, 2, 0], ("a", "b", "c")),
        ([None, None, None], "object", "nominal", [np.nan] * 3, ()),
        (["a", "b", None], "category", "binary", [0, 1, np.nan], ("a", "b")),
        (["a", "b", "c"], "category", "nominal", [0, 1, 2], ("a", "b", "c")),
        (
            ["z", None, "a"],
            pd.CategoricalDtype(["z", "unused", "a"]),
            "binary",
            [0, np.nan, 1],
            ("z", "a"),
        ),
        (
            ["hi", "lo", "mid"],
            pd.CategoricalDtype(["lo", "never", "mid", "hi"], ordered=True),
            "ordinal",
            [2, 0, 1],
            ("lo", "mid", "hi"),
        ),
        (
            ["hi", "lo", None],
            pd.CategoricalDtype(["lo", "mid", "hi"], ordered=True),
            "binary",
            [1, 0, np.nan],
            ("lo", "hi"),
        ),
        ([10, 30, 10], pd.CategoricalDtype([30, 10]), "binary", [1, 0, 1], (30, 10)),
    ],
)
def test_kind_and_codes(values, dtype, kind, coded, categories):
    column, _ = one(values, dtype)
    assert isinstance(column, Column)
    assert column.kind == kind
    assert column.values.dtype == np.float64
    np.testing.assert_array_equal(column.values, np.asarray(coded, dtype=float))
    np.testing.assert_array_equal(column.missing, np.isnan(np.asarray(coded, dtype=float)))
    assert column.categories == categories
    assert column.dtype == pd.Series(values, dtype=dtype).dtype


def test_many_strings_are_ids():
    text = [f"n{i}" for i in range(25)] + ["n0", None]
    column, events = one(text)
    assert column.kind == "id"
    assert column.categories == ()
    assert column.values[25] == column.values[0]
    assert np.isnan(column.values[26])
    assert "string_to_category" not in names(events)
    assert one(text, max_categories=25)[0].kind == "nominal"


def test_string_to_category_and_sparse_category_are_logged():
    _, events = one(["a"] * 6 + ["b"] * 5 + ["c"] * 4)
    assert names(events) == ["string_to_category", "sparse_category"]
    message = list(events)[1].message
    assert "'c' (4)" in message
    assert "'b'" not in message
    assert list(events)[1].dep == "x"


def test_categories_that_no_row_shows_are_logged_where_they_could_have_been_imputed():
    shown = pd.Categorical(["a", "b", None] * 6, categories=["never", "a", "b"])
    _, events = one(shown)
    assert names(events) == ["unseen_category"]
    assert "'never'" in next(iter(events)).message
    assert names(one(shown[~shown.isna()])[1]) == []


@pytest.mark.parametrize(
    ("values", "days"),
    [
        (pd.to_datetime(["2020-01-03", None, "2020-01-01"]), [2, np.nan, 0]),
        (pd.to_datetime(["2020-01-03", "2020-01-01"]).tz_localize("UTC"), [2, 0]),
        (pd.to_timedelta([36, 12], unit="h"), [1, 0]),
    ],
)
def test_dates_count_days_and_warn(values, days):
    with pytest.warns(JaxMiceWarning, match=r"^W05: column 'x'"):
        column, _ = one(values)
    assert column.kind == "time"
    np.testing.assert_array_equal(column.values, days)


@pytest.mark.parametrize("sentinel", [-999, -99, -9, 99, 999, 9999])
def test_sentinels_warn(sentinel):
    values = [*(np.arange(20) / 20), sentinel, sentinel]
    with pytest.warns(JaxMiceWarning, match=f"^W06: column 'x' repeats {sentinel},"):
        one(values)


@pytest.mark.parametrize(
    "values",
    [
        [*range(90, 110), 99, 99],  # amid the others
        [*(np.arange(20) / 20), 99],  # only once
        [100] * 10 + [99, 99, 98],  # quartiles coincide, but the range is short
        [99, 99, 99],  # nothing else
    ],
)
def test_ordinary_values_do_not_warn(values):
    one(values)


def test_sentinel_next_to_a_constant_warns():
    with pytest.warns(JaxMiceWarning, match="W06"):
        one([0] * 30 + [1] * 2 + [99] * 2)


@pytest.mark.parametrize("data", [[1, 2], {"a": [1]}, np.ones((2, 2)), np.ones(3), None])
def test_e01(data):
    with pytest.raises(DataError, match=r"^E01: data must be a pandas DataFrame, got .*columns="):
        encode(data, events=EventLog())


def test_arrays_take_columns():
    array = np.array([[1.0, 2.0], [np.nan, 3.0], [5.0, 6.0]])
    frame = encode(array, columns=["a", "b"], events=EventLog())
    assert list(frame.columns) == ["a", "b"]
    assert frame.n == 3
    array[0, 0] = 99
    assert frame.data["a"].iloc[0] == 1
    with pytest.raises(DataError, match=r"E01: columns= has 1 names, the array 2 columns"):
        encode(array, columns=["a"], events=EventLog())
    with pytest.raises(DataError, match=r"E01: columns= names the columns of an array"):
        encode(frame.data, columns=["a", "b"], events=EventLog())


def test_frames_with_to_pandas_are_converted():
    class Other:
        columns = ("a", "b")

        def to_pandas(self):
            return pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})

    assert encode(Other(), events=EventLog()).n == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (pd.DataFrame({"a": [1, 2]}), "data has 2 rows and 1 columns"),
        (pd.DataFrame({"a": [1], "b": [1]}), "data has 1 rows and 2 columns"),
    ],
)
def test_e02(data, text):
    with pytest.raises(DataError, match=f"E02: {text}; need at least 2 of each"):
        encode(data, events=EventLog())


def test_e03_and_e04_come_together():
    data = pd.DataFrame(np.ones((2, 4)), columns=["a", "a", 3, 4])
    with pytest.raises(DataError) as caught:
        encode(data, events=EventLog())
    assert caught.value.code == "E03"
    assert "duplicate column names: 'a'" in str(caught.value)
    assert "E04: column names must be strings; rename 3, 4" in str(caught.value)


def test_e04():
    with pytest.raises(DataError, match=r"^E04: column names must be strings; rename 0, 1"):
        encode(pd.DataFrame(np.ones((2, 2))), events=EventLog())


def test_e05_lists_every_column_and_five_rows():
    data = pd.DataFrame({"a": [np.inf] * 7, "b": [1.0] * 6 + [-np.inf]}, index=list("qrstuvw"))
    with pytest.raises(DataError) as caught:
        encode(data, events=EventLog())
    assert caught.value.code == "E05"
    assert "column 'a' has 7 infinite values (rows 'q', 'r', 's', 't', 'u', ... (7 in all))" in str(
        caught.value
    )
    assert "column 'b' has 1 infinite values (rows 'w')" in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1j, 2j]),
        pd.Series([[1], [2]]),
        pd.Series([{"a": 1}, None]),
        pd.Series([(1, 2), (3, 4)]),
        pd.Series([[1], "a"]),
        pd.Series([b"a", b"b"]),
        pd.Series([1, 0], dtype=pd.SparseDtype("int64")),
        pd.Series(pd.period_range("2020", periods=2, freq="D")),
        pd.Series(pd.interval_range(0, 2)),
        pd.Series([pd.Timestamp("2020-01-01"), None], dtype=object),
    ],
)
def test_e06(values):
    with pytest.raises(DataError, match=r"^E06: column 'x' has unsupported dtype"):
        one(values)


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ([1, "a"], "'int', 'str'"),
        ([True, 1, None], "'bool', 'int'"),
        (["a", 2.5], "'float', 'str'"),
    ],
)
def test_e08(values, types):
    with pytest.raises(DataError, match=f"^E08: column 'x' mixes {types}; convert it"):
        one(values, "object")


def test_complaints_about_columns_come_together():
    data = pd.DataFrame({"a": [1j, 2j], "b": [np.inf, 1], "c": pd.Series([1, "a"], dtype=object)})
    with pytest.raises(DataError) as caught:
        encode(data, events=EventLog())
    lines = str(caught.value).splitlines()
    assert [line[:3] for line in lines] == ["E06", "E05", "E08"]
    assert caught.value.code == "E06"


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["b", "a", "b"], ("b", "a")),
        ([7, 3, 7], (7, 3)),
        ([(2, 1), (1, 1), (2, 1)], ((2, 1), (1, 1))),
        (pd.Categorical(["b", "a", "b"], categories=["a", "b", "c"]), ("b", "a")),
        (pd.array([9, 1, 9], dtype="Int64"), (9, 1)),
        ([True, False, True], (True, False)),
    ],
)
def test_ids_of_any_type(ids, labels):
    data = pd.DataFrame({"g": pd.Series(ids), "x": [1.0, 2.0, 3.0]})
    with pytest.warns(JaxMiceWarning, match=r"^W08: cluster column 'g' has 2 clusters"):
        frame = encode(data, cluster="g", events=EventLog())
    assert frame.clusters is not None
    np.testing.assert_array_equal(frame.clusters.codes, [0, 1, 0])
    assert frame.clusters.codes.dtype == np.int64
    assert frame.clusters.labels == labels
    assert frame.clusters.J == 2
    assert frame.columns["g"].level == 0
    assert frame.columns["g"].kind == "id"


def test_date_as_cluster_is_no_predictor():
    day = pd.to_datetime([f"2020-01-0{i}" for i in range(1, 7)])
    frame = encode(pd.DataFrame({"g": day, "x": range(6)}), cluster="g", events=EventLog())
    assert frame.columns["g"].kind == "id"


def test_unhashable_ids():
    with pytest.raises(DataError, match=r"^E06: column 'g' .*cannot be compared"):
        encode(pd.DataFrame({"g": [[1], [2]], "x": [1, 2]}), cluster="g", events=EventLog())


def test_missing_ids():
    g = [None, "a", "a", "b", None]
    x = [1.0, 2.0, 2.0, 3.0, 4.0]
    with pytest.raises(
        DataError, match=r"^E11: cluster column 'g' has 2 missing ids \(rows 0, 4\)"
    ):
        grouped(x, g)
    frame, _ = grouped(x, g, missing_cluster="own")
    assert frame.clusters.labels[:4] == ("row 0", "a", "b", "row 4")
    np.testing.assert_array_equal(frame.clusters.codes[:5], [0, 1, 1, 2, 3])
    frame, events = grouped(x, g, missing_cluster="drop")
    np.testing.assert_array_equal(frame.clusters.codes[:5], [-1, 0, 0, 1, -1])
    assert frame.clusters.labels[:2] == ("a", "b")
    dropped = next(e for e in events if e.event == "row_dropped")
    assert dropped.message.startswith("2 rows without cluster id (rows 0, 4)")
    with pytest.raises(DataError, match=r"^E11: missing_cluster must be .* did you mean 'drop'"):
        grouped(x, g, missing_cluster="drp")


def test_unknown_cluster_suggests_a_name():
    data = pd.DataFrame({"School": [1, 2], "x": [1, 2]})
    with pytest.raises(
        DataError, match=r"^E12: cluster 'schol' not found; did you mean 'School'\?"
    ):
        encode(data, cluster="schol", events=EventLog())
    with pytest.raises(DataError, match=r"^E12: cluster 'qqq' not found; there is 'School', 'x'"):
        encode(data, cluster="qqq", events=EventLog())


def test_a_list_of_one_cluster_column_is_that_column():
    data = pd.DataFrame({"a": [1, 2], "b": [1, 2]})
    with pytest.warns(JaxMiceWarning, match="W08"):
        clusters = encode(data, cluster=["a"], events=EventLog()).clusters
    assert (clusters.name, clusters.further) == ("a", ())
    for names in ([], ["a", "a"]):
        with pytest.raises(DataError, match=r"^E12: cluster must name different columns"):
            encode(data, cluster=names, events=EventLog())


@pytest.mark.filterwarnings("ignore:W08")
def test_nested_cluster_columns():
    data = pd.DataFrame(
        {"class": list("aabbcc"), "school": list("ssttss"), "x": [1.0, 2, 3, 4, 5, 6]}
    )
    frame = encode(data, cluster=["class", "school"], events=EventLog())
    clusters = frame.clusters
    assert clusters.names == ("class", "school")
    assert clusters.further[0].labels == ("s", "t")
    np.testing.assert_array_equal(clusters.codes, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(clusters.further[0].codes, [0, 0, 1, 1, 0, 0])
    assert [frame.columns[name].level for name in data] == [0, 0, 1]


@pytest.mark.filterwarnings("ignore:W08")
def test_ids_that_repeat_in_other_clusters_are_refused_relabelled_or_taken_to_cross():
    data = pd.DataFrame(
        {"class": [1, 2, 1, 2, 3], "school": list("sstts"), "town": list("ppqqp"), "x": range(5)}
    )
    names = ["class", "school", "town"]
    with pytest.raises(DataError, match=r"^E13: 2 ids of cluster column 'class' occur in several"):
        encode(data, cluster=names, events=EventLog())

    events = EventLog()
    nested = encode(data, cluster=names, relabel_nested=True, events=events).clusters
    assert nested.labels == ((1, "s"), (2, "s"), (1, "t"), (2, "t"), (3, "s"))
    np.testing.assert_array_equal(nested.codes, [0, 1, 2, 3, 4])
    assert [clusters.labels for clusters in nested.further] == [("s", "t"), ("p", "q")]
    assert [event.dep for event in events if event.event == "clusters_relabelled"] == ["class"]

    crossing = encode(data, cluster=names, relabel_nested=False, events=EventLog()).clusters
    assert crossing.labels == (1, 2, 3)
    np.testing.assert_array_equal(crossing.codes, [0, 1, 0, 1, 2])


@pytest.mark.filterwarnings("ignore:W08")
def test_a_row_without_one_of_its_ids_is_dropped_from_all():
    data = pd.DataFrame({"a": [5, 6, 6, 7], "b": ["u", "v", None, "u"], "x": [1.0, 2, 3, 4]})
    with pytest.raises(DataError, match=r"^E11: cluster column 'b' has 1 missing"):
        encode(data, cluster=["a", "b"], events=EventLog())
    data.loc[1, "b"] = None
    clusters = encode(data, cluster=["a", "b"], missing_cluster="drop", events=EventLog()).clusters
    assert (clusters.labels, clusters.further[0].labels) == ((5, 7), ("u",))
    np.testing.assert_array_equal(clusters.codes, [0, -1, -1, 1])
    np.testing.assert_array_equal(clusters.further[0].codes, [0, -1, -1, 0])
    own = encode(
        data, cluster=["a", "b"], missing_cluster="own", relabel_nested=False, events=EventLog()
    ).clusters.further[0]
    assert own.J == 3


def test_singletons_are_counted():
    _, events = grouped([1, 2, 3], ["a", "a", "b"])
    event = next(e for e in events if e.event == "singleton_clusters")
    assert event.message.startswith("6 of 7 clusters")


def test_levels():
    data = pd.DataFrame(
        {
            "g": np.repeat(np.arange(6), 2),
            "varies": range(12),
            "constant": np.repeat(np.arange(6.0), 2),
            "shown_once": [1.0, np.nan] * 6,
            "partly": [1, 1, np.nan, 2, *[np.nan] * 8],
            "text": np.repeat(list("uvwxyz"), 2),
        }
    )
    events = EventLog()
    frame = encode(data, cluster="g", events=events)
    assert {n: c.level for n, c in frame.columns.items()} == {
        "g": 0,
        "varies": 1,
        "constant": 2,
        "shown_once": 1,
        "partly": 2,
        "text": 2,
    }
    assert [e.dep for e in events if e.event == "level_undecided"] == ["shown_once"]
    frame = encode(data, cluster="g", levels={"shown_once": 2, "constant": 1}, events=EventLog())
    assert frame.columns["shown_once"].level == 2
    assert frame.columns["constant"].level == 1
    assert all(c.level == 1 for c in encode(data, events=EventLog()).columns.values())


def test_dropped_rows_do_not_decide_levels():
    frame, _ = grouped([1, 1, 2], ["a", "a", None], missing_cluster="drop")
    assert frame.columns["x"].level == 2


def test_e14_lists_five_clusters_of_every_column():
    data = pd.DataFrame({"g": np.repeat(list("abcdefg"), 2), "x": range(14), "y": [1] * 13 + [2]})
    with pytest.raises(DataError) as caught:
        encode(data, cluster="g", levels={"x": 2, "y": 2}, events=EventLog())
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "E14: column 'x' declared level 2 but varies in 7 clusters: 'a', 'b', 'c', 'd', 'e', ..."
    )
    assert second.startswith("column 'y' declared level 2 but varies in 1 clusters: 'g'")


@pytest.mark.parametrize(
    ("levels", "cluster", "text"),
    [
        ({"xx": 2}, "g", r"^E12: levels names 'xx'.* did you mean 'x'"),
        ({"x": 3}, "g", r"^E14: levels\['x'\] must be 1 or 2, got 3"),
        ({"x": 2}, None, r"^E14: column 'x' declared level 2, but no cluster"),
        ({"g": 2}, "g", r"^E14: 'g' is a cluster column"),
    ],
)
def test_levels_that_make_no_sense(levels, cluster, text):
    data = pd.DataFrame({"g": range(6), "x": range(6)})
    with pytest.raises(DataError, match=text):
        encode(data, cluster=cluster, levels=levels, events=EventLog())


def test_almost_constant_warns():
    g = np.repeat(np.arange(201), 2)
    x = g.astype(float)
    x[11] += 1
    with pytest.warns(JaxMiceWarning, match=r"^W09: column 'x' .* 1 of 201 clusters \(5\)"):
        frame = encode(pd.DataFrame({"g": g, "x": x}), cluster="g", events=EventLog())
    assert frame.columns["x"].level == 1
    x[:6] = range(6)  # four of 201 is more than one per cent
    encode(pd.DataFrame({"g": g, "x": x}), cluster="g", events=EventLog())


def test_index_not_unique():
    events = EventLog()
    encode(pd.DataFrame({"a": [1, 2], "b": [1, 2]}, index=[0, 0]), events=events)
    assert names(events) == ["index_not_unique"]


def test_data_stay_as_they_are():
    data = pd.DataFrame({"g": list("abcdef"), "x": [1.0, np.nan, 3, 4, 5, 6], "s": ["u"] * 6})
    before = data.copy(deep=True)
    frame = encode(data, cluster="g", events=EventLog())
    frame.columns["x"].values[:] = -1
    pd.testing.assert_frame_equal(data, before)
    data.loc[:, "x"] = 0.0
    data["new"] = 1
    pd.testing.assert_frame_equal(frame.data, before)


def test_levels_of_a_large_frame_are_found_fast():
    rng = np.random.default_rng(1)
    n = 200_000
    data = pd.DataFrame(rng.normal(size=(n, 10)), columns=[f"x{i}" for i in range(10)])
    data["g"] = rng.integers(0, 20_000, n)
    start = time.perf_counter()
    encode(data, cluster="g", events=EventLog())
    assert time.perf_counter() - start < 2  # a loop over the clusters would take far longer
