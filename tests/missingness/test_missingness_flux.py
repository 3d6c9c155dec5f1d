import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import DataError
from jaxmice.missingness import fico, flux, is_monotone, md_pairs, nelson_aalen

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


# Made with the functions of the same names in R's mice, release 3.15.0.
REFERENCE = {
    "pobs": [1, 0.5, 0.5, 0.833333],
    "influx": [0, 0.352941, 0.352941, 0.058824],
    "outflux": [1, 0.142857, 0.142857, 0.571429],
    "ainb": [0, 0.666667, 0.666667, 0.333333],
    "aout": [0.388889, 0.111111, 0.111111, 0.266667],
    "fico": [0.666667, 0.333333, 0.333333, 0.6],
}


def test_flux_is_that_of_the_reference(data: pd.DataFrame) -> None:
    expected = pd.DataFrame(REFERENCE, index=list("abcd"))

    pd.testing.assert_frame_equal(flux(data), expected, atol=5e-7)
    pd.testing.assert_series_equal(fico(data), expected["fico"], atol=5e-7)


def test_pairs_count_every_row_once(data: pd.DataFrame) -> None:
    pairs = md_pairs(data)

    assert pairs["rm"].loc["b"].tolist() == [0, 0, 1, 0]
    assert pairs["mr"].loc["b"].tolist() == [3, 0, 1, 2]
    assert (sum(pairs.values()) == len(data)).all(axis=None)
    pd.testing.assert_frame_equal(pairs["mr"], pairs["rm"].T)


def test_flux_by_cluster_is_that_of_its_clusters(data: pd.DataFrame) -> None:
    clusters = [data, data.assign(b=1.0), data.iloc[:3]]
    together = pd.concat(clusters).assign(g=np.repeat(["x", "y", "z"], [6, 6, 3]))

    table = flux(together.sample(frac=1, random_state=1), by="g")

    measures = [flux(cluster) for cluster in clusters]
    assert list(table.index) == list("abcd")
    for name in REFERENCE:
        expected = np.quantile([m[name] for m in measures], [0.25, 0.5, 0.75], axis=0).T
        np.testing.assert_allclose(table[name].to_numpy(), expected, rtol=1e-12)


def test_complete_and_empty_columns_have_no_undefined_measure() -> None:
    table = flux(pd.DataFrame({"a": [1, 2], "b": [3, 4], "none": [NA, NA]}))

    assert table.loc["none"].to_dict() == {
        "pobs": 0, "influx": 1, "outflux": 0, "ainb": 1, "aout": 0, "fico": 0
    }  # fmt: skip
    assert flux(pd.DataFrame({"a": [1, 2], "b": [3, 4]})).loc["a"].tolist() == [1, 0, 0, 0, 0, 0]


def test_bad_data_are_named(data: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"E12.*did you mean 'a'"):
        flux(data, by="A")
    with pytest.raises(DataError, match="E02: data has 1 columns beside 'a'"):
        flux(data[["a", "b"]], by="a")
    with pytest.raises(DataError, match="E01"):
        md_pairs([1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "monotone"),
    [
        ([[1, 1, 1], [1, 1, NA], [1, NA, NA]], True),
        ([[1, 1, 1], [NA, 1, 1], [NA, NA, 1]], True),
        ([[1, 1, 1], [1, NA, 1], [1, 1, NA]], False),
        ([[1, 2, 3], [4, 5, 6]], True),
    ],
)
def test_monotone_patterns_are_found_in_any_order(rows: list[list[float]], monotone: bool) -> None:
    assert is_monotone(pd.DataFrame(rows, columns=list("abc"))) is monotone


def test_cumulative_hazard() -> None:
    # at risk 5, 4, 4, 2, 1: events at 1, 2 (two, one more censored at 2 stays at risk), 5
    hazard = nelson_aalen(pd.Series([5, 1, 2, 2, 2], index=list("vwxyz")), [1, 1, 1, 0, 1])

    expected = {"v": 1 / 5 + 2 / 4 + 1, "w": 1 / 5, "x": 0.7, "y": 0.7, "z": 0.7}
    assert hazard.to_dict() == pytest.approx(expected)


def test_cumulative_hazard_of_exponential_times_is_linear() -> None:
    # Hazard 1, censored at 1: the estimate at 1 has mean 1 and variance about
    # (e - 1) / n; 4 standard errors are passed by chance once in 16,000.
    time = np.random.default_rng(1).exponential(size=4000)
    hazard = nelson_aalen(np.minimum(time, 1), time < 1)

    assert hazard.max() == pytest.approx(1, abs=4 * np.sqrt((np.e - 1) / 4000))


@pytest.mark.parametrize(
    ("time", "event"), [([1, 2], [1]), ([1, NA], [1, 0]), ([1, 2], [1, 2]), ([], [])]
)
def test_unusable_times_are_refused(time: list[float], event: list[float]) -> None:
    with pytest.raises(DataError, match="E57"):
        nelson_aalen(time, event)


def test_public_names() -> None:
    assert jm.flux is flux
    assert jm.md_pairs is md_pairs
