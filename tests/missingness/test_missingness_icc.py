import numpy as np
import pandas as pd
import pytest

from jaxmice.datasets import load_popmis
from jaxmice.errors import DataError
from jaxmice.missingness import icc


@pytest.fixture
def small() -> pd.DataFrame:
    return pd.DataFrame({"g": list("aaabbcccc"), "y": [1.0, 2, 3, 4, 6, 2, 2, 3, 5]})


def test_reference_values(small: pd.DataFrame) -> None:
    row = icc(small, "g").iloc[0]

    assert row["variable"] == "y"
    assert (row["level"], row["n"], row["J"]) == (1, 9, 3)
    expected = {
        "n0": 2.888889,
        "between": 5.444444,
        "within": 1.666667,
        "icc": 0.439655,
        "F": 3.266667,
        "p": 0.109712,
        "ci_low": -0.235174,
        "ci_high": 0.977841,
        "design_effect": 1 + 1.888889 * 0.439655,
    }
    assert row[list(expected)].to_dict() == pytest.approx(expected, abs=1e-6)


def test_popularity_has_the_published_icc() -> None:
    table = icc(load_popmis(), "school", ["popular", "texp"]).set_index("variable")

    assert table.loc["popular", "icc"] == pytest.approx(0.558, abs=5e-4)
    # a level-2 variable lies between clusters altogether
    assert table.loc["texp", ["level", "icc", "ci_low", "ci_high"]].tolist() == [2, 1, 1, 1]


def test_missing_values_do_not_count(small: pd.DataFrame) -> None:
    extra = pd.DataFrame({"g": ["a", "z"], "y": [np.nan, np.nan]})

    with_holes = icc(pd.concat([small, extra], ignore_index=True), "g")

    pd.testing.assert_frame_equal(with_holes, icc(small, "g"))


def test_negative_values_are_reported_unless_truncated() -> None:
    alternating = pd.DataFrame({"g": [1, 1, 2, 2, 3, 3], "y": [0.0, 4, 0, 4, 0, 4]})

    assert icc(alternating, "g")["icc"].item() == pytest.approx(-1)
    assert icc(alternating, "g", truncate=True)["icc"].item() == 0


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    J, size, rho, runs = 20, 5, 0.3, 400
    effect = rng.normal(0, np.sqrt(rho), (runs, J, 1))
    y = effect + rng.normal(0, np.sqrt(1 - rho), (runs, J, size))
    data = pd.DataFrame(y.reshape(runs, -1).T, columns=[f"y{i}" for i in range(runs)])

    table = icc(data.assign(g=np.repeat(np.arange(J), size)), "g", list(data.columns), conf=0.8)

    covered = ((table["ci_low"] < rho) & (rho < table["ci_high"])).mean()
    # three standard errors of a share of 0.8 among 400
    assert covered == pytest.approx(0.8, abs=0.06)


def test_columns_that_have_no_icc_are_named(small: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="'x' is nominal"):
        icc(small.assign(x=list("uvwuvwuvw")), "g", ["x"])
    with pytest.raises(DataError, match="did you mean 'y'"):
        icc(small, "g", ["Y"])
    with pytest.raises(DataError, match="2 values in 1 clusters"):
        icc(small.assign(z=[1.0, 2] + [np.nan] * 7), "g", ["z"])


def test_arguments_are_checked(small: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        icc(small, "g", conf=95)
    with pytest.raises(DataError, match="cluster column is needed"):
        icc(small)
