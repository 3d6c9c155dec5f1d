"""Results of other packages, read for pooling."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import AnalysisError
from jaxmice.pooling import extract


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


def test_coefficients_without_covariance() -> None:
    class LinearRegression:
        coef_ = np.ones(2)

    with pytest.raises(AnalysisError, match=r"E60.*LinearRegression.*without their covariance"):
        extract(LinearRegression())
