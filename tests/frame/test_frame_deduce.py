"""Level-2 cells known from other rows of their cluster."""

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import JaxMiceWarning
from jaxmice.events import EventLog
from jaxmice.frame import deduce_level2, encode

G = np.repeat([*range(1, 7)], 3)


def test_cells_are_filled():
    nan = np.nan
    data = pd.DataFrame(
        {
            "g": G,
            "w": [nan, 7, 7, nan, nan, nan, 1, 1, 1, 2, nan, 2, 3, 3, 3, 4, 4, 4],
            "k": pd.array([None, 7, 7, *[2] * 15], dtype="Int64"),
            "s": ["a", None, "a", *["b"] * 15],
            "y": [nan, *range(17)],
        },
        index=range(100, 118),
    )
    before = data.copy(deep=True)
    frame = encode(data, cluster="g", events=EventLog())
    events = EventLog()
    out = deduce_level2(frame, events)
    pd.testing.assert_frame_equal(data, before)
    assert frame.columns["w"].missing.sum() == 5
    assert [(e.event, e.dep) for e in events] == [("deduced", c) for c in ("w", "k", "s")]
    assert next(iter(events)).message.startswith("2 missing cells of level-2 column 'w'")
    assert "3 left" in next(iter(events)).message
    assert out.data["w"].tolist()[:3] == [7, 7, 7]
    assert out.data["w"].isna().sum() == 3
    assert out.data["k"].tolist()[:3] == [7, 7, 7]
    assert out.data["s"].tolist()[:3] == ["a"] * 3
    assert np.isnan(out.data["y"].iloc[0])
    pd.testing.assert_series_equal(out.data.dtypes, data.dtypes)
    pd.testing.assert_index_equal(out.data.index, data.index)
    again = encode(out.data, cluster="g", events=EventLog())
    for name, column in again.columns.items():
        np.testing.assert_array_equal(out.columns[name].values, column.values)
        np.testing.assert_array_equal(out.columns[name].missing, column.missing)


def test_dates_and_ids_are_filled_too():
    name = np.repeat([f"n{i}" for i in range(30)], 2).astype(object)
    name[0] = None
    day = pd.Series(pd.date_range("2020-01-01", periods=30).repeat(2))
    day[1] = pd.NaT
    data = pd.DataFrame({"g": np.repeat(range(30), 2), "name": name, "day": day})
    with pytest.warns(JaxMiceWarning, match="W05"):
        frame = encode(data, cluster="g", events=EventLog())
    out = deduce_level2(frame, EventLog())
    assert out.data["name"].iloc[0] == "n0"
    assert out.data["day"].iloc[1] == pd.Timestamp("2020-01-01")
    assert out.data["day"].dtype == day.dtype
    assert not out.columns["name"].missing.any()


def test_rows_without_cluster_stay():
    data = pd.DataFrame({"g": [None, *G], "w": [np.nan, np.nan, *G[1:]]})
    frame = encode(data, cluster="g", missing_cluster="drop", events=EventLog())
    out = deduce_level2(frame, EventLog())
    assert out.columns["w"].missing.tolist() == [True, *[False] * 18]


@pytest.mark.parametrize("cluster", [None, "g"])
def test_nothing_to_fill(cluster):
    frame = encode(pd.DataFrame({"g": G, "w": G}), cluster=cluster, events=EventLog())
    assert deduce_level2(frame, EventLog()) is frame
