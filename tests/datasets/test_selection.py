"""Data that are missing not at random are what the documentation says."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import chi2

from jaxmice.datasets import make_hiv, make_obesity
from jaxmice.datasets.hiv import REGIONS
from jaxmice.datasets.obesity import CLUSTERS
from jaxmice.errors import DataError


def design(data: pd.DataFrame, terms: list[str], cluster: str) -> pd.DataFrame:
    """Return the columns of the terms, and a dummy of every cluster."""
    x = {}
    for term in terms:
        column, _, level = term.partition("[T.")
        values = data[column] == level.rstrip("]") if level else data[column]
        x[term] = values.astype(float)
    return pd.DataFrame(x).join(pd.get_dummies(data[cluster], prefix="c", dtype=float))


def check(fit, truth: dict[str, float], terms: list[str]) -> None:
    """All coefficients at once, wrong once in 1,000."""
    error = fit.params[terms] - pd.Series(truth)[terms]
    z2 = error @ np.linalg.solve(fit.cov_params().loc[terms, terms], error)
    assert z2 < chi2.ppf(0.999, len(terms))


def slopes(truth: dict[str, float]) -> list[str]:
    parameters = {"Intercept", "var_intercept", "residual", "rho"}
    return [term for term in truth if term not in parameters]


@pytest.fixture(scope="module")
def hiv():
    return make_hiv(seed=1)


@pytest.fixture(scope="module")
def obesity():
    return make_obesity(seed=1)


@pytest.mark.skipif("JAXMICE_DATA" not in os.environ, reason="JAXMICE_DATA names no folder")
@pytest.mark.parametrize("name", ["hiv", "obesity"])
def test_columns_and_categories_are_those_of_the_survey(name, request):
    s = request.getfixturevalue(name)
    survey = pd.read_csv(
        Path(os.environ["JAXMICE_DATA"]) / ("hiv.csv" if name == "hiv" else "Obesity.csv")
    )
    assert set(s.complete) <= set(survey)
    for column in s.complete.select_dtypes("category"):
        assert list(s.complete[column].cat.categories) == sorted(survey[column].dropna().unique())
    assert s.complete.notna().all(axis=None)
    for column in s.complete:
        kept = s.incomplete[column].notna()
        assert (s.incomplete[column][kept] == s.complete[column][kept]).all()


def test_hiv_has_the_sizes_and_shares_of_the_survey():
    frames = [make_hiv(seed=s) for s in range(12)]
    assert tuple(frames[0].complete.groupby("region").size()) == REGIONS
    # Regions move the first two by 0.012 and 0.016 from data set to data set, the mean of 12
    # by 0.005; the others do not depend on them. 4 deviations: once in 2,000 runs for all 6.
    seen = np.mean(
        [(s.incomplete["hiv"].isna().mean(), s.incomplete["hiv"].mean()) for s in frames], 0
    )
    assert seen == pytest.approx([0.205, 0.126], abs=0.02)
    people = pd.concat([s.complete for s in frames])
    assert (people["smoke"] == "Smoker").mean() == pytest.approx(0.238, abs=0.02)
    assert (people["marital"] == "never married").mean() == pytest.approx(0.392, abs=0.03)
    assert people["age"].mean() == pytest.approx(30.1, abs=1)
    assert people["age"].between(15, 59).all()
    hidden = np.mean([s.complete["hiv"][s.incomplete["hiv"].isna()].mean() for s in frames])
    assert hidden > 0.3


def test_infection_follows_its_model_and_smoking_matters_for_the_test_alone():
    s = make_hiv(n_j=4000, seed=2)
    terms = slopes(s.truth)
    x = design(s.complete, terms, "region")
    check(sm.Probit(s.complete["hiv"], x).fit(disp=0), s.truth, terms)
    tested = sm.Probit(s.incomplete["hiv"].notna().astype(float), x).fit(disp=0)
    z = (tested.params["smoke[T.Smoker]"] - 1.0) / tested.bse["smoke[T.Smoker]"]
    assert abs(z) < 3.3
    # At a correlation of 0 those without a test are like the others.
    s = make_hiv(n_j=4000, rho=0.0, seed=2)
    x["hidden"] = s.incomplete["hiv"].isna().astype(float)
    fit = sm.Probit(s.complete["hiv"], x).fit(disp=0)
    assert abs(fit.tvalues["hidden"]) < 3.3


def test_obesity_has_the_sizes_and_holes_of_the_survey(obesity):
    d = obesity.incomplete
    assert tuple(d.groupby("Cluster").size()) == CLUSTERS
    missing = d.isna().groupby(d["Cluster"]).mean()
    assert list(missing.index[missing["Weight"] == 1]) == [3]
    assert missing["Weight"].drop(3).mean() == pytest.approx(0.38, abs=0.1)
    shares = d.isna().mean()
    # Binomial, of 2,111: deviations up to 0.008.
    assert shares[["Height", "FamOb", "Age"]].to_numpy() == pytest.approx(
        [0.03, 0.14, 0.14], abs=0.03
    )
    assert not shares[["Cluster", "Time", "Gender"]].any()
    whole = d.dropna()
    np.testing.assert_allclose(whole["BMI"], whole["Weight"] / whole["Height"] ** 2)
    others = d["Cluster"] != 3
    hidden = others & d["Weight"].isna()
    gap = obesity.complete["Weight"][hidden].mean() - d["Weight"].mean()
    assert gap > 5


def test_weight_follows_its_model_and_time_matters_for_the_answer_alone():
    s = make_obesity(n_j=5000, seed=2)
    terms = slopes(s.truth)
    x = design(s.complete, terms, "Cluster")
    fit = sm.OLS(s.complete["Weight"], x).fit()
    check(fit, s.truth, terms)
    # Relative standard error of a variance of 25,000 rows: 0.009.
    assert fit.scale == pytest.approx(s.truth["residual"], rel=0.035)
    asked = s.complete["Cluster"] != 3
    given = s.incomplete["Weight"].notna()[asked].astype(float)
    answered = sm.Probit(given, x[asked].drop(columns="c_3")).fit(disp=0)
    assert abs((answered.params["Time"] + 0.2) / answered.bse["Time"]) < 3.3
    # Residuals of weight where it is given and where not.
    assert fit.resid[asked][given == 1].mean() < -1 < 1 < fit.resid[asked][given == 0].mean()


@pytest.mark.parametrize("make", [make_hiv, make_obesity])
def test_simulations_can_be_repeated(make):
    a, b, c = (make(10, seed=s).incomplete for s in (1, 1, 2))
    pd.testing.assert_frame_equal(a, b)
    assert not a.equals(c)


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (make_hiv, {"n_j": 0}, "n_j a positive integer or 9 of them"),
        (make_hiv, {"rho": 1}, "rho between -1 and 1"),
        (make_hiv, {"between": -1}, "between must be at least 0"),
        (make_obesity, {"n_j": [1, 2]}, "5 of them"),
        (make_obesity, {"residual": 0}, "residual above 0"),
    ],
)
def test_arguments_that_make_no_sense(make, options, text):
    with pytest.raises(DataError, match=text) as caught:
        make(seed=1, **options)
    assert caught.value.code == "E55"
