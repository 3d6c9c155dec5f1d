"""Quantities beyond coefficients: published figures, closed forms and complaints."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxmice as jm
from jaxmice.analysis import analyze
from jaxmice.errors import DataError, JaxMiceWarning, PoolError
from jaxmice.pooling import (
    how_many_imputations,
    mix_draws,
    pool,
    pool_correlations,
    pool_p_values,
    pool_quantity,
    pool_scalar,
)
from jaxmice.pooling.transforms import TRANSFORMS
from jaxmice.repeated import _von_hippel_bartlett

POINTS = {"log": 2.0, "identity": -3.0}


def test_figures_of_correlations_r2_and_proportions() -> None:
    r = pool_quantity("correlation", [0.42, 0.47, 0.39, 0.45, 0.44], n=120)
    found = [r.estimate, float(r.pooled.std_error), float(r.pooled.riv)]
    np.testing.assert_allclose(found, [0.434393, 0.101130, 0.196598], atol=5e-7)
    r2 = pool_quantity("r2", [0.30, 0.33, 0.28, 0.31, 0.32], n=120)
    np.testing.assert_allclose(r2.estimate, 0.307971, atol=5e-7)
    p = pool_quantity("proportion", [0.21, 0.24, 0.19, 0.22, 0.20], n=200, method="wilson")
    found = [*p.interval(), float(p.pooled.riv), float(p.pooled.df)]
    np.testing.assert_allclose(found, [0.148654, 0.293049, 0.532502, 33.129877], atol=5e-7)


def test_wilson_interval_of_equal_imputations_is_the_usual_one() -> None:
    from statsmodels.stats.proportion import proportion_confint

    p = pool_quantity("proportion", [0.3, 0.3], n=50, method="wilson")
    np.testing.assert_allclose(p.interval(), proportion_confint(15, 50, method="wilson"))


def test_wilson_interval_knows_the_degrees_of_freedom_of_complete_data() -> None:
    q, n = np.array([0.21, 0.24, 0.19]), 40
    p = pool_quantity("proportion", q, n=n, method="wilson", dfcom=8)
    pooled = pool_scalar(q, q * (1 - q) / n, 8)
    c = stats.t(pooled.df).ppf(0.975) ** 2 / n * (1 + pooled.riv)
    middle, half = 2 * q.mean() + c, np.sqrt((2 * q.mean() + c) ** 2 - 4 * (1 + c) * q.mean() ** 2)
    limits = [(middle - half) / (2 * (1 + c)), (middle + half) / (2 * (1 + c))]
    np.testing.assert_allclose(p.interval(), limits)
    with pytest.raises(PoolError, match=r"E64.*takes its variances from n"):
        pool_quantity("proportion", q, q, n=n, method="wilson")


@pytest.mark.parametrize("name", TRANSFORMS)
def test_scales_invert_and_differentiate(name: str) -> None:
    forward, back, derivative = TRANSFORMS[name]
    x = np.array(POINTS.get(name, 0.3))
    np.testing.assert_allclose(back(forward(x)), x)
    slope = (forward(x + 1e-6) - forward(x - 1e-6)) / 2e-6
    np.testing.assert_allclose(derivative(x), slope, rtol=1e-6)


def test_given_variances_move_to_the_scale() -> None:
    found = pool_quantity("ratio", [2.0, 2.5, 2.2], [0.04, 0.05, 0.03], dfcom=50)
    wanted = pool_scalar(
        np.log([2.0, 2.5, 2.2]), np.array([0.04, 0.05, 0.03]) / np.array([4, 6.25, 4.84]), 50
    )
    np.testing.assert_allclose(found.interval(0.9), np.exp(wanted.interval(0.9)))
    survival = pool_quantity("survival", [0.8, 0.82], [0.001, 0.001])
    low, high = survival.interval()
    assert low < survival.estimate < high < 1
    with pytest.warns(JaxMiceWarning, match="W35: the icc of imputation 1 is 0"):
        assert pool_quantity("icc", [0.0, 0.1], [0.01, 0.01]).estimate > 0
    assert pool_p_values([0.01, 0.2, 0.04]) == 0.04


def pooled(m: int = 5) -> jm.PooledResults:
    rng = np.random.default_rng(5)
    return pool((rng.normal(1, 0.3, (m, 2)), np.stack([0.1 * np.eye(2)] * m)), dfcom=80)


def test_monte_carlo_error_of_the_estimate_is_known() -> None:
    found = pooled()
    table = found.mcerror()
    np.testing.assert_allclose(table["estimate"], np.sqrt(np.diag(found.between) / 5))
    again = [
        pool((np.delete(found.stack.params, i, 0), np.delete(found.stack.cov, i, 0)), 80)
        for i in range(5)
    ]
    errors = np.array([part.bse for part in again])
    np.testing.assert_allclose(table["std.error"], 2 * errors.std(axis=0))
    with pytest.raises(PoolError, match=r"E64.*at least 3"):
        pooled(2).mcerror()


@pytest.mark.parametrize(
    ("fmi", "upper", "point", "most"),
    [(0.1, 0.1712, 3, 7), (0.3, 0.4434, 19, 41), (0.5, 0.6502, 51, 86)],
)
def test_figures_of_the_quadratic_rule(
    fmi: float, upper: float, point: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jm.PooledResults, "fmi", pd.Series([fmi, 0.0101], ["term1", "term2"]))
    plan = how_many_imputations(pooled(20))
    row = plan.table.iloc[0]
    np.testing.assert_allclose(row["conf.high"], upper, atol=5e-5)
    assert (row["m.point"], row["m.upper"], plan.m, plan.enough) == (point, most, most, most <= 20)
    assert how_many_imputations(pooled(20), terms=["term2"]).m < most


def test_linear_rule_counts_incomplete_rows() -> None:
    data = pd.DataFrame({"a": [1, None, 3, 4], "b": [None, None, 1, 1]})
    assert how_many_imputations(data, rule="linear") == 50


class Frames:
    """Completed data sets for correlations and analyses."""

    m = 3

    def __init__(self) -> None:
        rng = np.random.default_rng(8)
        g = np.repeat(np.arange(12), 10)
        x, u = rng.normal(size=120), rng.normal(size=12)[g]
        self.frames = [
            pd.DataFrame({"g": g, "x": x, "y": x + u + rng.normal(size=120), "z": x - u})
            for _ in range(self.m)
        ]

    def complete(self, number: int) -> pd.DataFrame:
        return self.frames[number - 1]


def test_correlations_by_component() -> None:
    imp = Frames()
    total = pool_correlations(imp, ["x", "y", "z"])
    by_hand = np.mean([np.arctanh(f["x"].corr(f["y"])) for f in imp.frames])
    np.testing.assert_allclose(total.matrices["total"].loc["y", "x"], np.tanh(by_hand))
    spearman = pool_correlations(imp, ["x", "y"], method="spearman")
    by_hand = np.mean([np.arctanh(f["x"].corr(f["y"], method="spearman")) for f in imp.frames])
    np.testing.assert_allclose(spearman.table["estimate"], np.tanh(by_hand))
    parts = pool_correlations(imp, ["x", "y"], cluster="g")
    assert parts.table["component"].tolist() == ["within", "between"]
    means = [f.groupby("g").mean() for f in imp.frames]
    by_hand = np.mean([np.arctanh(f["x"].corr(f["y"])) for f in means])
    np.testing.assert_allclose(parts.matrices["between"].loc["x", "y"], np.tanh(by_hand))
    # With x and z held, u and x are known: what is left of y is noise, as in a regression.
    partial = pool_correlations(imp, ["x", "y"], partial=["z"])
    r = [f[["x", "y", "z"]].corr().to_numpy() for f in imp.frames]
    given = [
        (c[0, 1] - c[0, 2] * c[1, 2]) / np.sqrt((1 - c[0, 2] ** 2) * (1 - c[1, 2] ** 2)) for c in r
    ]
    np.testing.assert_allclose(partial.table["estimate"], np.tanh(np.arctanh(given).mean()))


def test_mixed_draws() -> None:
    rng = np.random.default_rng(2)
    sets = [
        {"mu": rng.normal(s, 1, (2, 400)), "b": rng.normal(size=(2, 500, 3))} for s in (0, 1, 2)
    ]
    mixed = mix_draws(sets)
    assert mixed.posterior["b"].shape == (6, 400, 3)
    assert mixed.imputation.tolist() == [1, 1, 2, 2, 3, 3]
    pytest.importorskip("numpyro")
    table = mixed.summary().set_index("term")
    assert list(table.index) == ["mu", "b[0]", "b[1]", "b[2]"]
    # Within variance 1, between 2/3: seeds are fixed, the bounds are 4 standard errors.
    np.testing.assert_allclose(table.loc["mu", "between"], 0.4, atol=0.05)
    assert table["rhat_within"].max() < 1.02
    assert table["ess_within"].min() > 400


@pytest.fixture(scope="module")
def imp() -> jm.ImputedData:
    data = jm.datasets.load_popmis()[["school", "popular", "sex", "texp"]]
    return jm.mice(data, m=3, maxit=1, method="norm", seed=1)


def test_predictions_by_formula_and_by_terms(imp: jm.ImputedData) -> None:
    new = pd.DataFrame({"sex": [0, 1], "texp": [10, 20]}, index=["a", "b"])
    ols = analyze(imp, "popular ~ sex * center(texp)").pool()
    same = analyze(imp, "popular ~ sex * texp").pool()
    by_formula = ols.predict(new, "confidence")
    pd.testing.assert_frame_equal(by_formula, same.predict(new, "confidence"))
    bare = pool([same.stack.fit(i) for i in range(3)], dfcom=1996.0)
    x = new.assign(**{"sex:texp": new["sex"] * new["texp"]})
    pd.testing.assert_frame_equal(bare.predict(x, "confidence"), by_formula)
    assert list(by_formula.index) == ["a", "b"]
    sigma2 = ols.extra["estimate"][0]
    wide = ols.predict(new, "prediction")
    np.testing.assert_allclose(wide["std.error"] ** 2, by_formula["std.error"] ** 2 + sigma2)
    odds = analyze(imp, "sex ~ popular", engine="glm:binomial").pool()
    found = odds.predict(imp.complete(1).head(3), "confidence")
    assert ((found > 0) & (found[["estimate"]] < 1).to_numpy()).all().all()
    with pytest.raises(PoolError, match=r"E65.*sex:texp"):
        bare.predict(new)
    with pytest.raises(PoolError, match=r"E65.*linear models"):
        odds.predict(imp.complete(1), "prediction")
    with pytest.raises(PoolError, match=r"E65.*new data"):
        ols.predict(new[["sex"]])


def test_two_stages_are_one_run(imp: jm.ImputedData) -> None:
    spec = {"method": "norm", "maxit": 1}
    found = jm.two_stage(imp.data, spec, "popular ~ sex", m_pilot=2, cv=0.4, seed=1)
    assert found.imp.m == max(found.plan.m, 2)
    assert found.pooled.m == found.imp.m
    pd.testing.assert_frame_equal(found.imp.complete(2), imp.complete(2))


def test_variance_of_bootstrap_and_imputation_by_hand() -> None:
    estimates = np.array([[[1.0], [2.0]], [[3.0], [6.0]]])
    # Means 1.5 and 4.5: MSB = 2 * 4.5 = 9; MSW = (0.5 + 4.5) / 2 = 2.5.
    mean, variance, df = _von_hippel_bartlett(estimates)
    np.testing.assert_allclose(variance, 1.5 * (9 - 2.5) / 2 + 2.5 / 4)
    assert (mean, df) == (3.0, 3.0)


def test_bootstrap_draws_whole_clusters(imp: jm.ImputedData) -> None:
    seen = []

    def impute(frames: list[pd.DataFrame]) -> list[SimpleNamespace]:
        seen.extend(frames)
        values = [f["popular"].mean() for f in frames]
        stack = [SimpleNamespace(params=np.array([[v], [v]]), terms=("mean",)) for v in values]
        return [SimpleNamespace(analyze=lambda _, s=s: SimpleNamespace(stack=s)) for s in stack]

    table = jm.boot_mi(imp.data, 100, impute, "mean", cluster="school", seed=1)
    assert all(f["school"].nunique() == 100 for f in seen)
    assert all(f.groupby("school")["texp"].nunique().max() == 1 for f in seen)
    # The variance of a mean of clusters; the seed is fixed, 30 % is four standard errors.
    sums = imp.data.groupby("school")["popular"].agg(["sum", "count"])
    residual = sums["sum"] - sums["count"] * imp.data["popular"].mean()
    wanted = np.sqrt((residual**2).sum()) / sums["count"].sum()
    np.testing.assert_allclose(table["std.error"], wanted, rtol=0.3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pool_quantity("median", [1.0]), "E64.*unknown kind"),
        (lambda: pool_quantity("ratio", [1.0, 2.0]), "E64.*variances="),
        (lambda: pool_quantity("correlation", [1.0, 0.5], n=50), "E64.*range"),
        (lambda: pool_quantity("correlation", [0.5, 0.5], n=3), "E64.*n=3"),
        (lambda: pool_quantity("mean", [0.5], [1.0], method="wilson"), "E64.*not for mean"),
        (lambda: pool_p_values([1.2]), "E64"),
        (lambda: how_many_imputations(pooled(), cv=0), "E64.*cv"),
        (lambda: how_many_imputations(3), "E64.*pilot"),
        (lambda: how_many_imputations(pooled(), terms=["sex"]), "E64.*no terms sex"),
        (lambda: pool_correlations(Frames(), ["x"]), "E64.*two or more"),
        (lambda: pool_correlations(Frames(), ["x", "q"]), "E64.*no column 'q'"),
        (lambda: pool_correlations(Frames(), ["x", "g"], cluster="g"), "E64.*'g' does not vary"),
        (lambda: mix_draws([]), "E64.*at least one"),
        (lambda: mix_draws([{"a": np.ones(5)}, {"b": np.ones(5)}]), "E64.*posterior 2"),
        (lambda: mix_draws([{"a": np.full(5, np.nan)}]), "E64.*not finite"),
        (lambda: mix_draws([{"a": np.ones(5)}], draws_per=9), "E64.*between 1 and 5"),
        (lambda: pooled().predict(pd.DataFrame({"a": [1]})), "E65.*term1, term2"),
        (lambda: pooled().predict([1]), "E65.*DataFrame"),
        (lambda: jm.boot_mi(pd.DataFrame({"a": [1]}), 1, list, "a ~ 1"), "E64.*at least 2"),
    ],
)
def test_complaints(call: Callable[[], object], message: str) -> None:
    with pytest.raises(PoolError, match=message):
        call()


def test_complaint_about_the_cluster_of_a_bootstrap() -> None:
    with pytest.raises(DataError, match="E12"):
        jm.boot_mi(pd.DataFrame({"a": [1]}), 2, list, "a ~ 1", cluster="g")


def test_a_variance_next_to_zero_is_told() -> None:
    values = [0.030, 0.028, 1e-20, 0.033, 0.031]
    with pytest.warns(JaxMiceWarning, match="W35: the variance of imputation 3 is 1.0e-20"):
        assert pool_quantity("variance", values, n=100).estimate < 1e-5
