"""Generalised models, complete cases and Bayesian models, through the public functions."""

import sys

import numpy as np
import pandas as pd
import pytest

import jaxmice as jm
from jaxmice.errors import AnalysisError, DataError

FORMULA = "sex ~ popular + texp + (1 | school)"


@pytest.fixture(scope="module")
def popmis() -> pd.DataFrame:
    return jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]


@pytest.fixture(scope="module")
def imputed(popmis: pd.DataFrame) -> jm.ImputedData:
    return jm.mice(popmis, m=2, maxit=0, seed=1)


def test_generalised_mixed_model(popmis: pd.DataFrame, imputed: jm.ImputedData) -> None:
    fits = imputed.analyze(FORMULA, engine="glmm:binomial")
    assert fits.terms == ("Intercept", "popular", "texp")
    assert list(fits.extra["term"][:2]) == ["Intercept~~Intercept|school", "ICC|school"]
    variance, share = fits.stack.components.values[0]
    np.testing.assert_allclose(share, variance / (variance + np.pi**2 / 3))
    pooled = jm.pool(fits, dfcom="between_within").summary(type="all")
    assert pooled["dfcom"].tolist() == [98.0, 1899.0, 98.0]
    # An outcome of two categories is the same outcome: the second is 1.
    text = popmis.assign(sex=pd.Categorical(np.where(popmis["sex"] == 1, "girl", "boy")))
    again = jm.with_(jm.mice(text, m=2, maxit=0, seed=1), FORMULA, engine="glmm:binomial")
    np.testing.assert_allclose(again.stack.params[:, 2], fits.stack.params[:, 2], rtol=1e-6)
    assert again.terms == fits.terms
    assert jm.compare_models(fits, ["popular"])["p.value"].iloc[0] < 0.05
    # The statistics of D3 and D4 are equal but for terms that vanish with the sample size.
    smaller = imputed.analyze("sex ~ texp + (1 | school)", engine="glmm:binomial")
    d3, d4 = (jm.compare_models(fits, smaller, name) for name in ("D3", "D4"))
    np.testing.assert_allclose(d3[["F.value", "riv"]], d4[["F.value", "riv"]], rtol=0.02)


def test_generalised_complaints(imputed: jm.ImputedData) -> None:
    with pytest.raises(AnalysisError, match=r"E67.*must be 0 or 1"):
        imputed.analyze("texp ~ sex + (1 | school)", engine="glmm:binomial")
    with pytest.raises(AnalysisError, match=r"E58.*random part.*'glm:binomial'"):
        imputed.analyze(FORMULA, engine="glm:binomial")
    with pytest.raises(AnalysisError, match=r"E59.*'glmm:gamma'"):
        imputed.analyze(FORMULA, engine="glmm:gamma")
    with pytest.raises(AnalysisError, match=r"E59.*positive integer"):
        imputed.analyze(FORMULA, engine="glmm:binomial", quadrature=0)


def test_single_level_families(popmis: pd.DataFrame) -> None:
    """Against the same model as statsmodels fits it from its own formula."""
    sm = pytest.importorskip("statsmodels.formula.api")
    text = popmis.assign(sex=np.where(popmis["sex"] == 1, "girl", "boy"))
    found = jm.complete_case(text, "sex ~ texp", engine="glm:binomial").summary()
    wanted = sm.logit("sex ~ texp", popmis).fit(disp=0)
    np.testing.assert_allclose(found["estimate"], wanted.params, rtol=1e-6)
    np.testing.assert_allclose(found["std.error"], wanted.bse, rtol=1e-6)
    found = jm.complete_case(popmis, "texp ~ sex", engine="glm:poisson").summary()
    np.testing.assert_allclose(
        found["estimate"], sm.poisson("texp ~ sex", popmis).fit(disp=0).params
    )


def test_complete_case(popmis: pd.DataFrame) -> None:
    formula = "popular ~ sex + (1 | school)"
    found, wanted = jm.complete_case(popmis, formula).summary(), jm.lmm(formula, popmis)
    np.testing.assert_allclose(found["estimate"], wanted.params)
    np.testing.assert_allclose(found["std.error"], wanted.bse)
    by_hand = jm.complete_case(popmis, lambda d: ({"mean": d["popular"].mean()}, [[1.0]]))
    assert by_hand.summary()["estimate"].item() == popmis["popular"].mean()
    with pytest.raises(DataError, match="E01"):
        jm.complete_case([1, 2], formula)


def test_numpyro(imputed: jm.ImputedData) -> None:
    """A posterior known in closed form; alarms falsely once in a million runs (5 sigma)."""
    numpyro = pytest.importorskip("numpyro")
    dist = numpyro.distributions

    def model(y: np.ndarray, spread: float) -> None:
        mean = numpyro.sample("mean", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(mean, spread), obs=y)

    def head(d: pd.DataFrame) -> dict:
        return {"y": d["popular"].iloc[:50], "spread": 2.0}

    draws = imputed.analyze_numpyro(
        model, head, num_samples=400, num_warmup=200, num_chains=1, seed=3
    )
    assert draws.posterior["mean"].shape == (2, 400)
    precision = 1 + 50 / 4
    for i in range(2):
        wanted = imputed.complete(i + 1)["popular"].iloc[:50].sum() / 4 / precision
        # At least one draw in ten counts.
        error = 1 / np.sqrt(precision * 40)
        assert abs(draws.posterior["mean"][i].mean() - wanted) < 5 * error
    with pytest.raises(AnalysisError, match=r"E41.*'g' is not numeric"):
        imputed.analyze_numpyro(model, lambda d: {"g": d["sex"].astype(str)})


def test_bayesian_models_say_what_they_lack(
    imputed: jm.ImputedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numpyro.infer", None)
    with pytest.raises(AnalysisError, match=r"E69.*pip install numpyro"):
        imputed.analyze_numpyro(lambda y: None, lambda data: {"y": data["popular"]})
