import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import DataError
from jaxmice.missingness import md_pattern

NA = np.nan


@pytest.fixture
def data() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "a": [1.0, 2, 3, 4, 5, 6],
            "b": [1, 1, NA, 1, NA, NA],
            "c": [1, NA, NA, 1, 1, NA],
            "d": [1, 1, 1, 1, 1, NA],
        }
    )


def test_patterns_are_those_of_the_reference(data: pd.DataFrame) -> None:
    table = md_pattern(data)

    assert list(table.columns) == ["a", "d", "b", "c", "n_missing"]
    assert list(table.index) == [2, 1, 1, 1, 1, "total"]
    assert table.index.name == "n"
    expected = [
        [1, 1, 1, 1, 0],
        [1, 1, 1, 0, 1],
        [1, 1, 0, 1, 1],
        [1, 1, 0, 0, 2],
        [1, 0, 0, 0, 3],
        [0, 1, 3, 3, 7],
    ]
    np.testing.assert_array_equal(table.to_numpy(), expected)


def test_share_of_clusters_counts_clusters_not_rows(data: pd.DataFrame) -> None:
    data["g"] = ["x", "x", "y", "x", "y", "y"]

    share = md_pattern(data, by="g")["cluster_share"]

    # the complete rows all belong to x; the rest of x has one pattern, y has three
    np.testing.assert_array_equal(share.to_numpy()[:-1], [0.5] * 5)
    assert np.isnan(share.iloc[-1])


def test_complete_data_have_one_pattern() -> None:
    table = md_pattern(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}))

    assert list(table.index) == [2, "total"]
    assert table["n_missing"].tolist() == [0, 0]


def test_text_and_dates_are_missing_where_pandas_says() -> None:
    table = md_pattern(
        pd.DataFrame({"a": ["x", None, "y"], "b": pd.to_datetime(["2020-01-01", None, None])})
    )

    assert table.loc["total"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "by", "code"),
    [
        ([[1, 2]], None, "E01"),
        (pd.DataFrame({"a": [1, 2], "b": [1, 2]}), "c", "E12"),
        (pd.DataFrame({"a": [1, 2], "b": [1, NA]}), "b", "E11"),
        (pd.DataFrame({"a": [1, 2], "n_missing": [1, 2]}), None, "E03"),
    ],
)
def test_unusable_data_are_named(data: object, by: str | None, code: str) -> None:
    with pytest.raises(DataError, match=code):
        md_pattern(data, by=by)  # type: ignore[arg-type]
