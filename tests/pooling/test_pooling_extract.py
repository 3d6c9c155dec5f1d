"""Results of other packages, read for pooling."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from jaxmice.errors import JaxMiceWarning, PoolError
from jaxmice.pooling import compare_models, constraint_test, extract, pool


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    n = 200
    d = pd.DataFrame({"g": np.repeat(np.arange(20), 10), "t": np.tile(np.arange(10), 20)})
    d["x"] = rng.normal(size=n)
    d["y"] = 1 + d["x"] + rng.normal(size=n)
    d["b"] = (d["y"] > 1).astype(int)
    d["time"] = rng.exponential(np.exp(-d["x"]))
    d["event"] = (rng.uniform(size=n) < 0.7).astype(int)
    return d


def test_gee(data: pd.DataFrame) -> None:
    """The covariance is the robust one."""
    sm = pytest.importorskip("statsmodels.api")
    fit = sm.GEE.from_formula("b ~ x", "g", data, family=sm.families.Binomial()).fit()
    found = extract(fit)
    assert found.terms == ("Intercept", "x")
    assert found.link == "logit"
    np.testing.assert_allclose(found.cov, fit.cov_robust)


def test_proportional_hazards_of_statsmodels(data: pd.DataFrame) -> None:
    sm = pytest.importorskip("statsmodels.formula.api")
    fit = sm.phreg("time ~ x", data, status=data["event"].to_numpy()).fit()
    found = extract(fit)
    assert (found.terms, found.nobs) == (("x",), 200)
    assert found.df_resid == data["event"].sum() - 1


def test_lifelines(data: pd.DataFrame) -> None:
    lifelines = pytest.importorskip("lifelines")
    fit = lifelines.CoxPHFitter().fit(data[["x", "time", "event"]], "time", "event")
    found = extract(fit)
    np.testing.assert_allclose(found.params, fit.params_)
    np.testing.assert_allclose(np.sqrt(np.diagonal(found.cov)), fit.standard_errors_)
    assert found.df_resid == data["event"].sum() - 1


def test_shape_of_lifelines() -> None:
    """Names of several parts are joined; the events count, not the rows."""
    index = pd.MultiIndex.from_tuples([("lambda_", "x"), ("rho_", "Intercept")])
    fit = SimpleNamespace(
        params_=pd.Series([0.5, 0.1], index=index),
        variance_matrix_=pd.DataFrame(np.eye(2)),
        event_observed=pd.Series([1, 1, 0, 1]),
        log_likelihood_=-3.0,
    )
    found = extract(fit)
    assert found.terms == ("lambda_:x", "rho_:Intercept")
    assert (found.df_resid, found.nobs, found.loglik) == (1.0, 4.0, -3.0)


def test_linearmodels(data: pd.DataFrame) -> None:
    panel = pytest.importorskip("linearmodels.panel")
    model = panel.PanelOLS.from_formula("y ~ 1 + x + EntityEffects", data.set_index(["g", "t"]))
    fit = model.fit(cov_type="clustered", cluster_entity=True)
    found = extract(fit)
    np.testing.assert_allclose(np.sqrt(np.diagonal(found.cov)), fit.std_errors)
    assert (found.df_resid, found.nobs, found.loglik) == (179, 200, fit.loglik)


def test_scikit_learn(data: pd.DataFrame) -> None:
    """Estimates without standard errors: means are pooled, everything else says why not."""
    parts = [data.iloc[:100], data.iloc[50:], data]
    fits = [LinearRegression().fit(part[["x", "t"]], part["y"]) for part in parts]
    with pytest.warns(JaxMiceWarning, match=r"W26.*no standard errors"):
        pooled = pool(fits)
    table = pooled.summary(type="all")
    assert list(table.columns) == ["term", "m", "estimate", "b"]
    assert list(table["term"]) == ["Intercept", "x", "t"]
    slopes = [fit.coef_[0] for fit in fits]
    np.testing.assert_allclose(table["estimate"][1], np.mean(slopes))
    np.testing.assert_allclose(table["b"][1], np.var(slopes, ddof=1))
    assert "nan" not in repr(pooled).lower()
    for refused in (
        pooled.mcerror,
        lambda: pooled.predict(data),
        lambda: constraint_test(fits, "x = 0"),
        lambda: compare_models(fits, [LinearRegression().fit(p[["x"]], p["y"]) for p in parts]),
    ):
        with pytest.raises(PoolError, match=r"E45.*standard errors"):
            refused()


def test_scikit_learn_names_classes(data: pd.DataFrame) -> None:
    third = pd.qcut(data["y"], 3, labels=["low", "mid", "top"])
    found = extract(LogisticRegression().fit(data[["x"]].to_numpy(), third))
    assert found.terms[:3] == ("low:Intercept", "low:term1", "mid:Intercept")
    assert len(found.terms) == 6
