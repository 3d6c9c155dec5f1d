"""Rubin's rules against published figures, mice 3.15.0 (R 4.2.2) and limits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import AnalysisError, JaxMiceWarning, PoolError
from jaxmice.pooling import Components, Estimates, pool, pool_scalar, pool_table
from jaxmice.pooling.components import mixed_components, pool_components

Q = [1.10, 1.32, 0.95, 1.21, 1.07]
U = [0.040, 0.036, 0.044, 0.038, 0.041]

# lm(bmi ~ age + chl) on mice's nhanes, m = 5; figures of summary(pool(fit), type = "all").
MICE_Q = [
    [19.63348689467502, -3.2720016831585923, 0.066281890943639177],
    [20.279041130127535, -3.6545854261688673, 0.064734527187133725],
    [24.533596039035022, -1.1977821803348265, 0.022212006508063268],
    [23.878279236244019, -3.5441770045593803, 0.049363724216735072],
    [21.536366203599794, -3.3347236355307808, 0.055125427981167555],
]
MICE_U = [
    [10.004454552687253, 0.98389246340696612, 0.00035933065379405843],
    [10.13437469876691, 0.76303210099579633, 0.0003545003813402087],
    [13.546710641760054, 0.81429611219714282, 0.00033247196230445014],
    [12.814407817275491, 0.86383798511737442, 0.00034146075890446664],
    [6.2064189198450084, 0.54726661952411904, 0.00019218528066104106],
]
MICE = {
    "estimate": [21.9721539007, -3.00065398595, 0.0515435153673],
    "std.error": [4.01961873238, 1.42900377594, 0.0263956863797],
    "statistic": [5.46622835737, -2.09982229332, 1.95272495005],
    "df": [9.43986936443, 4.53910511101, 5.44674832596],
    "p.value": [0.000336162809822, 0.0954257719004, 0.103570809486],
    "conf.low": [12.9433245771, -6.78909789474, -0.0146685183169],
    "conf.high": [31.0009832244, 0.787789922839, 0.117755549052],
    "riv": [0.532768789301, 1.57034815512, 1.20492004216],
    "lambda": [0.347585880545, 0.610947646136, 0.546468814797],
    "fmi": [0.452476711846, 0.714156806411, 0.653854797592],
    "ubar": [10.5412733261, 0.794465056248, 0.000315989807401],
    "b": [4.68005118968, 1.03965561282, 0.000317285376713],
    "t": [16.1573347537, 2.04205179164, 0.000696732259457],
}


def matrices() -> np.ndarray:
    return np.stack([np.diag(u) for u in MICE_U])


@pytest.mark.parametrize(
    ("dfcom", "df", "fmi"),
    [(np.inf, 28.5340755, 0.414087606), (100, 19.4752301, 0.430079798)],
)
def test_scalar_reference(dfcom: float, df: float, fmi: float) -> None:
    found = pool_scalar(Q, U, dfcom)
    values = [found.estimate, found.ubar, found.b, found.t, found.riv, found.lambda_, found.df]
    wanted = [1.13, 0.0398, 0.01985, 0.06362, 0.598492462, 0.374410563, df]
    np.testing.assert_allclose(values, wanted, rtol=1e-8)
    np.testing.assert_allclose(found.fmi, fmi, rtol=1e-8)


def test_synthetic_data_reference() -> None:
    found = pool_scalar(Q, U, rule="reiter2003")
    np.testing.assert_allclose([found.t, found.df], [0.04377, 486.219163], rtol=1e-8)
    np.testing.assert_allclose(found.riv, 0.01985 / 5 / 0.0398)
    assert np.isnan(found.fmi)


def test_callable_rule() -> None:
    def rule(m: int, ubar: np.ndarray, b: np.ndarray, dfcom: np.ndarray) -> tuple:
        return ubar + (1 + 1 / m) * b, np.full_like(ubar, 7.0)

    found = pool_scalar(Q, U, rule=rule)
    np.testing.assert_allclose([found.t, found.df, found.riv], [0.06362, 7, 0.598492462])


def test_two_imputations_by_hand() -> None:
    found = pool_scalar([1.0, 3.0], [1.0, 2.0])
    # ubar = 1.5, b = 2, t = 1.5 + 1.5 * 2 = 4.5, lambda = 3 / 4.5, df = 1 / lambda^2.
    np.testing.assert_allclose(
        [found.estimate, found.ubar, found.b, found.t, found.df], [2, 1.5, 2, 4.5, 2.25]
    )


def test_agrees_with_mice() -> None:
    table = pool((np.array(MICE_Q), matrices()), dfcom=22).summary(type="all")
    for name, wanted in MICE.items():
        np.testing.assert_allclose(table[name], wanted, rtol=1e-6, err_msg=name)
    assert table["m"].tolist() == [5, 5, 5]


def test_agrees_with_mice_for_large_samples() -> None:
    table = pool((np.array(MICE_Q), matrices()), dfcom="inf").summary()
    # mice was given dfcom = 1e9.
    np.testing.assert_allclose(
        table["df"], [33.1082111587, 10.7164758002, 13.3945834431], rtol=1e-6
    )
    wanted = [4.61220669158e-06, 0.0602729680098, 0.072070830053]
    np.testing.assert_allclose(table["p.value"], wanted, rtol=1e-6)


def test_equal_imputations() -> None:
    found = pool_scalar([2.0, 2.0, 2.0], [0.5, 0.5, 0.5])
    assert (found.t, found.riv, found.lambda_, found.fmi) == (0.5, 0, 0, 0)
    assert np.isinf(found.df)
    found = pool_scalar([2.0, 2.0, 2.0], [0.5, 0.5, 0.5], 20)
    np.testing.assert_allclose(found.df, 21 / 23 * 20)
    np.testing.assert_allclose(found.fmi, 2 / (found.df + 3))


def test_no_variance_within() -> None:
    found = pool_scalar(Q, [0.0] * 5, 30)
    assert np.isinf(found.riv)
    assert (found.lambda_, found.df, found.fmi) == (1, 4, 1)


def test_infinite_dfcom_gives_vectors() -> None:
    found = pool_scalar(np.array([Q, Q]).T, np.array([U, U]).T)
    assert found.df.shape == found.fmi.shape == found.p_value().shape == (2,)
    np.testing.assert_allclose(found.df, 4 * (1 + 1 / found.riv) ** 2)


def test_normal_reference_when_df_is_infinite() -> None:
    found = pool_scalar([1.96, 1.96], [1.0, 1.0])
    np.testing.assert_allclose(found.p_value(), 0.04999579, rtol=1e-6)
    np.testing.assert_allclose(found.interval(), (1.96 - 1.959964, 1.96 + 1.959964), atol=1e-6)


def test_one_imputation() -> None:
    with pytest.warns(JaxMiceWarning, match="W27"):
        found = pool_scalar([1.5], [0.25], 10)
    assert (found.estimate, found.t, found.df) == (1.5, 0.25, 10)
    with pytest.warns(JaxMiceWarning, match="W27"):
        single = pool([(np.array([1.5]), np.array([[0.25]]))])
    np.testing.assert_allclose(single.cov, [[0.25]])


def test_results_look_like_statsmodels() -> None:
    found = pool((np.array(MICE_Q), matrices()), dfcom=22)
    np.testing.assert_allclose(found.params, MICE["estimate"], rtol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(found.cov)), found.bse)
    np.testing.assert_allclose(found.conf_int()["conf.low"], MICE["conf.low"], rtol=1e-6)
    np.testing.assert_allclose(found.pvalues, MICE["p.value"], rtol=1e-6)
    wanted = found.within + 1.2 * found.between
    np.testing.assert_allclose(found.cov, wanted)
    assert "5 imputations" in repr(found)
    assert found.extra.empty
    assert found.glance()["m"].tolist() == [5]


def test_columns_of_the_table() -> None:
    found = pool((np.array(MICE_Q), matrices()))
    tests = "term estimate std.error statistic df p.value conf.low conf.high".split()
    assert list(found.summary()) == tests
    assert list(found.summary(conf_int=False)) == tests[:-2]
    measures = "riv lambda fmi ubar b t dfcom".split()
    assert list(found.summary(type="all")) == ["term", "m", *tests[1:], *measures]
    assert "std_error" in found.summary(style="python")
    ratios = found.summary(exponentiate=True)
    np.testing.assert_allclose(ratios["estimate"], np.exp(found.params))
    np.testing.assert_allclose(ratios["std.error"], found.bse)
    with pytest.raises(PoolError, match=r"E65"):
        found.summary(type="everything")
    with pytest.raises(PoolError, match=r"E65"):
        found.summary(level=95)


def fit(**more: object) -> Estimates:
    return Estimates(("Intercept", "x", "w"), np.array([1.0, 2, 3]), np.eye(3), **more)  # type: ignore[arg-type]


def test_degrees_of_freedom() -> None:
    fits = [fit(df_resid=97.0, nobs=100, clusters=40, between=np.array([True, False, True]))] * 3
    assert pool(fits).pooled.dfcom.tolist() == [97, 97, 97]
    assert pool(fits, dfcom="between_within").pooled.dfcom.tolist() == [38, 59, 38]
    assert np.isinf(pool(fits, dfcom="inf").pooled.dfcom).all()
    assert pool(fits, dfcom={"Intercept": 1, "x": 2, "w": 3}).pooled.dfcom.tolist() == [1, 2, 3]
    with pytest.raises(PoolError, match="no value for w"):
        pool(fits, dfcom={"Intercept": 1, "x": 2})
    with pytest.raises(PoolError, match="unknown dfcom"):
        pool(fits, dfcom="satterthwaite")
    with pytest.raises(PoolError, match="mixed model"):
        pool([fit()] * 2, dfcom="between_within")


def test_few_clusters() -> None:
    fits = [fit(df_resid=97.0, nobs=100, clusters=12, between=np.zeros(3, dtype=bool))] * 3
    with pytest.warns(JaxMiceWarning, match="W28"):
        pool(fits)
    pool(fits, dfcom="residual")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pool(3), "cannot pool int"),
        (lambda: pool([]), "cannot pool list"),
        (lambda: pool((np.ones((2, 2)), np.ones((2, 3)))), "must be"),
        (lambda: pool_scalar(Q, U[:2]), "equal shapes"),
        (lambda: pool_scalar(Q, [-1.0] * 5), "negative"),
        (lambda: pool_scalar(Q, U, rule="bayes"), "unknown rule"),
    ],
)
def test_complaints(call: Callable[[], object], message: str) -> None:
    with pytest.raises(PoolError, match=rf"E64.*{message}"):
        call()


def test_imputed_data_are_not_analyses() -> None:
    class Imputed:
        def analyze(self) -> None: ...

    with pytest.raises(PoolError, match=r"E44"):
        pool(Imputed())


def test_terms_must_agree() -> None:
    a = pd.DataFrame({"term": ["a", "b"], "estimate": [1.0, 2], "std.error": [1.0, 1]})
    with pytest.raises(AnalysisError, match=r"E42.*'b' missing in imputations \[2\]"):
        pool([a, a.iloc[:1]])
    np.testing.assert_allclose(pool([a, a.iloc[::-1]]).params, [1, 2])


def test_table() -> None:
    rows = [
        {"term": t, "y.level": y, "estimate": q + shift, "std.error": u**0.5, "df.residual": 100}
        for q, u in zip(Q, U, strict=True)
        for t, y, shift in (("x", "b", 0.0), ("x", "a", 1.0))
    ]
    table = pool_table(pd.DataFrame(rows), type="all")
    assert list(table.columns[:2]) == ["y.level", "term"]
    assert table["y.level"].tolist() == ["b", "a"]
    np.testing.assert_allclose(table["estimate"], [1.13, 2.13])
    np.testing.assert_allclose(table["df"], 19.4752301, rtol=1e-8)
    robust = pool_table(pd.DataFrame(rows).assign(**{"robust.se": 0.0}), dfcom="inf", type="all")
    np.testing.assert_allclose(robust["ubar"], 0)
    with pytest.raises(PoolError, match=r"E64"):
        pool_table(pd.DataFrame(rows).drop(columns="std.error"))
    with pytest.warns(JaxMiceWarning, match="W27"):
        pool_table(pd.DataFrame(rows[:3]))


def test_components_are_averages_in_the_order_of_mitml() -> None:
    psi = np.array([[[1.0, 0.2], [0.2, 0.5]], [[2.0, 0.4], [0.4, 0.7]]])
    parts = mixed_components(("Intercept", "sex"), psi, np.array([1.0, 2.0]), "school")
    table = pool_components(parts)
    assert table["term"].tolist() == [
        "Intercept~~Intercept|school",
        "sex~~sex|school",
        "Intercept~~sex|school",
        "Residual~~Residual",
        "ICC|school",
    ]
    np.testing.assert_allclose(table["estimate"], [1.5, 0.6, 0.3, 1.5, 0.5])
    assert table["std.error"].isna().all()


def test_intervals_of_components() -> None:
    parts = Components(
        ("v",), np.array([[1.0], [1.2], [0.9]]), ("log",), np.array([[0.1], [0.1], [0.1]])
    )
    table = pool_components(parts)
    pooled = pool_scalar(np.log([1.0, 1.2, 0.9]), [0.1] * 3)
    np.testing.assert_allclose(
        table[["conf.low", "conf.high"]].to_numpy()[0], np.exp(pooled.interval())
    )
    np.testing.assert_allclose(table["std.error"], pooled.std_error * table["estimate"])


def test_a_variance_next_to_zero_does_not_decide_the_interval() -> None:
    # Standard deviations of standard error 0.03, told as the variances of logarithms.
    values = np.array([0.030, 0.028, 1e-20, 0.033, 0.031])
    parts = Components(
        ("v", "icc"),
        np.c_[values, values],
        ("log", "logit"),
        np.c_[4 * 0.03**2 / values, 4 * 0.03**2 / (values * (1 - values) ** 2)],
    )
    table = pool_components(parts)
    pooled = pool_scalar(np.sqrt(values), [0.03**2] * 5)
    low, high = pooled.interval()
    assert table["transform"].tolist() == ["root", "root"]
    np.testing.assert_allclose(table["estimate"], values.mean())
    np.testing.assert_allclose(table["conf.low"], max(low, 0) ** 2)
    np.testing.assert_allclose(table["conf.high"], high**2)
    assert 0.05 < high**2 < 0.5
    np.testing.assert_allclose(table["std.error"], pooled.std_error * 2 * values.mean() ** 0.5)


@pytest.mark.parametrize("dfcom", [-5, 0, np.nan, True])
def test_degrees_of_freedom_that_cannot_be_are_refused(dfcom: Any) -> None:
    stack = (np.array([[1.0], [1.2], [0.9]]), np.full((3, 1, 1), 0.1))
    with pytest.raises(PoolError, match=r"^E64: dfcom must be positive"):
        pool(stack, dfcom=dfcom)
    if dfcom in (-5, 0):
        with pytest.raises(PoolError, match=r"^E64: dfcom must be positive"):
            pool_scalar([1.0, 1.2, 0.9], [0.1] * 3, dfcom=dfcom)
