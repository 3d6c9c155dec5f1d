"""New rows: imputed by the model of the old ones, which they do not change."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import DataError, JaxMiceWarning, RunError
from tests.frames import CLUSTERS, SIZE, two_level

ROLES = {"y": {"x": "fixed", "w": "none", "z": "none"}}

pytestmark = [
    pytest.mark.filterwarnings("ignore:W00"),
    pytest.mark.filterwarnings("ignore:W08"),
    pytest.mark.filterwarnings("ignore:W14"),
]


def _mice(data: pd.DataFrame, **changes: Any) -> jm.ImputedData:
    arguments = {"m": 40, "method": "2l.pan", "cluster": "g", "roles": ROLES, "seed": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxMiceWarning)
        return jm.mice(data, **{**arguments, **changes})


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    """Return clusters that lie far apart, so that known and new ones can be told apart."""
    data = two_level(("y",))
    data["y"] += 10.0 * (data["g"] - (CLUSTERS - 1) / 2)
    return data


@pytest.fixture(scope="module")
def imp(data: pd.DataFrame) -> jm.ImputedData:
    return _mice(data)


@pytest.fixture(scope="module")
def new(data: pd.DataFrame) -> pd.DataFrame:
    """Return a row of every old cluster, and as many of new ones, y missing but once."""
    old = data[data.index % SIZE == 1]
    fresh = old.assign(g=old["g"] + 100)
    out = pd.concat([old, fresh]).assign(y=np.nan)
    out.index = pd.Index([f"n{i}" for i in range(len(out))])
    out.loc["n5", "y"] = 7.0
    return out


@pytest.fixture(scope="module")
def result(imp: jm.ImputedData, new: pd.DataFrame) -> jm.ImputedData:
    return imp.impute_new(new)


def test_newdata_comes_back_completed(
    imp: jm.ImputedData, new: pd.DataFrame, result: jm.ImputedData
) -> None:
    pd.testing.assert_frame_equal(result.complete(0), new)
    assert result.m == imp.m
    for frame in result:
        assert frame.notna().all(axis=None)
        pd.testing.assert_frame_equal(frame.where(new.notna()), new)
    assert result.method == imp.method
    again = imp.impute_new(new)
    pd.testing.assert_frame_equal(again.complete("long"), result.complete("long"))


def test_newdata_known_clusters_have_their_effect_and_new_ones_the_population(
    data: pd.DataFrame, new: pd.DataFrame, result: jm.ImputedData
) -> None:
    mean = data.groupby("g")["y"].mean()
    drawn = result.imp["y"]
    known = [label for label in drawn.index if new.loc[label, "g"] < 100]
    fresh = [label for label in drawn.index if new.loc[label, "g"] >= 100]
    # A known cluster's mean of 6 rows has a standard error near 0.4, a residual one of 1; the
    # mean of 40 draws is then within 3 of it but once in 10,000 (six standard errors).
    expected = mean.loc[new.loc[known, "g"]].to_numpy()
    assert np.abs(drawn.loc[known].mean(axis=1).to_numpy() - expected).max() < 3
    # The population spreads as the 12 clusters do, by 36; the posterior of its spread is wide
    # (11 degrees of freedom): a ratio below 0.5 or above 2 has probability below 0.001.
    ratio = drawn.loc[fresh].std(axis=1) / mean.std()
    assert 0.5 < ratio.mean() < 2
    assert drawn.loc[known].std(axis=1).max() < 5


def test_newdata_does_not_change_the_model(
    imp: jm.ImputedData, new: pd.DataFrame, result: jm.ImputedData
) -> None:
    wild = new.copy()
    wild.loc["n5", "y"] = 1e6
    other = imp.impute_new(wild)
    np.testing.assert_allclose(other.imp["y"], result.imp["y"], rtol=1e-6, atol=1e-6)


def test_newdata_without_holes_come_back_as_they_are(
    imp: jm.ImputedData, new: pd.DataFrame
) -> None:
    whole = new.assign(y=1.0)
    same = imp.impute_new(whole)
    assert (same.m, len(same.imp.get("y", ()))) == (imp.m, 0)
    for frame in same:
        pd.testing.assert_frame_equal(frame, whole)


def test_newdata_in_columns_that_were_complete(data: pd.DataFrame, new: pd.DataFrame) -> None:
    start = _mice(data, m=2, maxit=0, method="sample", roles=None)
    completed = start.impute_new(new.assign(z=np.nan)).complete(1)
    assert completed["z"].isin(data["z"]).all()
    assert completed.notna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.drop(columns="w"), "E35: newdata lacks the columns 'w'"),
        (lambda d: d.assign(q=1), "E35: newdata has besides the columns 'q'"),
        (lambda d: d.assign(w="a"), "E35: column 'w' is float64 in the old rows"),
        (lambda d: d.to_numpy(), "E01: newdata must be a pandas DataFrame"),
    ],
)
def test_newdata_of_another_form(
    imp: jm.ImputedData, new: pd.DataFrame, change: Any, complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint):
        imp.impute_new(change(new))


def test_newdata_refusals(data: pd.DataFrame, imp: jm.ImputedData, new: pd.DataFrame) -> None:
    with pytest.raises(RunError, match="E71"):
        imp.select([1]).impute_new(new)
    with pytest.raises(DataError, match="E10"):
        imp.impute_new(new, maxit=0)
    kinds = data.assign(c=pd.Categorical(np.resize(["a", "b"], len(data))))
    start = _mice(kinds, m=2, maxit=0)
    with pytest.raises(DataError, match=r"E35: column 'c': 'z' was not seen"):
        start.impute_new(new.assign(c="z"))
    constant = data.assign(c=data["g"] * 1.5)
    start = _mice(constant, m=2, maxit=0)
    with pytest.raises(DataError, match="E14"):
        start.impute_new(new.assign(c=-1.0))


@pytest.mark.skipif("JAXMICE_DATA" not in os.environ, reason="JAXMICE_DATA names no folder")
def test_newdata_of_real_schools() -> None:
    data = pd.read_csv(Path(os.environ["JAXMICE_DATA"]) / "brandsma.csv")
    data = data[["sch", "iqv", "ses", "lpo", "den"]].dropna(subset=["sch"])
    old, new = data[data["sch"] < 200], data[data["sch"] >= 200]
    imp = _mice(old, m=2, maxit=2, cluster="sch", roles=None, method=None)
    out = imp.impute_new(new, maxit=2)
    assert out.complete(2)[imp.variables].notna().all(axis=None)
    assert len(out.data) == len(new)


def test_one_row_is_enough(imp: jm.ImputedData, data: pd.DataFrame) -> None:
    row = data[data["y"].isna()].iloc[[0]]
    new = imp.impute_new(row)
    assert new.complete(1).shape == row.shape
    assert new.complete(1)["y"].notna().all()
    assert new.filter([True]).m == imp.m


def test_truth_values_with_holes_fit_complete_ones() -> None:
    data = two_level(("y",)).assign(sure=lambda frame: frame["w"] > 0)
    imp = _mice(data, m=2, roles=None, method={"y": "2l.pan"})
    new = data.iloc[:8].assign(sure=lambda frame: frame["sure"].astype(object))
    new.loc[new.index[2], "sure"] = None
    assert imp.impute_new(new).complete(1)["sure"].notna().all()
