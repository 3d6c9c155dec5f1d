"""Tests of several parameters: published figures, invariances and complaints."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jaxmice.errors import JaxMiceWarning, PoolError
from jaxmice.pooling import (
    Estimates,
    anova,
    compare_models,
    constraint_test,
    pool,
    pool_chi2,
    pool_F,
)
from jaxmice.pooling.joint import d3, d4
from jaxmice.pooling.likelihood import mixed_loglik

Q = np.array([[1.10, 0.50], [1.32, 0.41], [0.95, 0.62], [1.21, 0.55], [1.07, 0.48]])
U = np.array(
    [
        [[u, 0.005], [0.005, 0.021 + 0.001 * i]]
        for i, u in enumerate([0.04, 0.036, 0.044, 0.038, 0.041])
    ]
)
PAIR = ["term1", "term2"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, [12.4884139, 2, 27.35348, 1.401863e-4, 0.5295593]),
        ({"dfcom": 50}, [12.4884139, 2, 14.51504, 7.002175e-4, 0.5295593]),
        ({"method": "D2"}, [12.8295581, 2, 24.77860, 1.498606e-4, 0.4844487]),
    ],
)
def test_figures_of_mitml(options: dict[str, Any], wanted: list[float]) -> None:
    found = compare_models((Q, U), PAIR, **options)
    np.testing.assert_allclose(found.to_numpy()[0], wanted, rtol=2e-6)


def test_residual_degrees_of_freedom_are_those_of_the_fits() -> None:
    full, null = fits(("a", "b", "c", "d"), df_resid=50.0), fits(("a",), df_resid=53.0)
    found = compare_models(full, null, dfcom="residual")
    pd.testing.assert_frame_equal(found, compare_models(full, null, dfcom=50))
    by_name = constraint_test(full, ["b", "c", "d"], dfcom="residual")
    pd.testing.assert_frame_equal(found, by_name)
    assert found["df2"].iloc[0] < compare_models(full, null)["df2"].iloc[0]


def test_one_parameter_is_the_square_of_the_scalar_rule() -> None:
    pooled = pool((Q, U))
    found = constraint_test((Q, U), "term2")
    np.testing.assert_allclose(found["F.value"], pooled.pooled.statistic()[1] ** 2)
    np.testing.assert_allclose(found["riv"], pooled.pooled.riv[1])


def test_tests_do_not_depend_on_how_constraints_are_written() -> None:
    plain = constraint_test((Q, U), PAIR)
    mixed = constraint_test((Q, U), ["term1 + term2 = 0", "3 * term1 - term2"])
    pd.testing.assert_frame_equal(plain, mixed)
    # Where the product is zero at no cost: the derivative of a*b is (b, a).
    a, b = Q[:, 0], Q[:, 1]
    gradient = np.stack([b, a], axis=1)
    moved = np.einsum("mk,mkl,ml->m", gradient, U, gradient)
    by_hand = pool(((a * b), moved)).pooled.statistic()[0] ** 2
    np.testing.assert_allclose(constraint_test((Q, U), "term1 * term2")["F.value"], by_hand)
    ratio = constraint_test((Q, U), "exp(term1) / sqrt(term2) = 2 ** 2")
    np.testing.assert_allclose(
        ratio["F.value"], constraint_test((Q, U), "exp(term1) * term2**-0.5 - 4")["F.value"]
    )


def test_names_of_terms_are_understood_whole() -> None:
    terms = ("x", "x:z", "C(g)[T.a b]", "2x")
    fits = [Estimates(terms, np.arange(1.0, 5) + i, np.eye(4)) for i in (0, 0.1, 0.3)]
    for term, k in zip(terms, range(4), strict=True):
        found = constraint_test(fits, f"{term} = {k + 1}")
        value = pool(([f.params[k] - k - 1 for f in fits], [1.0] * 3)).pooled.statistic()[0]
        np.testing.assert_allclose(found["F.value"], value**2)


def test_chi_square_and_f_statistics() -> None:
    found = pool_chi2([8.0, 11.0, 9.5], 2)
    root = np.sqrt([8.0, 11.0, 9.5])
    r = 4 / 3 * root.var(ddof=1)
    value = (9.5 / 2 - 2 * r) / (1 + r)
    np.testing.assert_allclose(found["F.value"], value)
    np.testing.assert_allclose(found["df2"], 2 ** (-1) * 2 * (1 + 1 / r) ** 2)
    pd.testing.assert_frame_equal(pool_F([4.0, 5.5, 4.75], 2), found)
    same = pool_chi2([6.0, 6.0], 3)
    np.testing.assert_allclose(same["p.value"], 0.1116102, rtol=1e-6)
    assert np.isinf(same["df2"]).all()


def test_likelihood_tests_by_hand() -> None:
    found = d3(np.array([6.0, 8.0, 10.0]), np.array([5.0, 6.0, 7.0]), 2)
    # r = 4 / (2 * 2) * (8 - 6) = 2, F = 6 / (2 * 3), t = 4.
    np.testing.assert_allclose(found[["F.value", "df2", "riv"]], [[1.0, 4 * 1.5 * 1.5**2 / 2, 2.0]])
    full, null = np.array([-10.0, -11.0, -9.0]), np.array([-13.0, -15.0, -14.0])
    found = d4(full, null, (-33.0, -42.0), 2, 5, "default")
    # The stacked ratio is 6, the mean one 8: r = 4 / 4 * 2 = 2.
    np.testing.assert_allclose(found[["F.value", "df2", "riv"]], [[1.0, 4 * 1.5**2, 2.0]])
    robust = d4(full, null, (-33.0, -42.0), 2, 5, "robust")
    # r = 4 / (5 * 2) * 2 * (-10 + 11) = 0.8.
    np.testing.assert_allclose(robust["riv"], 0.8)
    assert d3(np.array([4.0, 4]), np.array([5.0, 5]), 1, "positive")["riv"].tolist() == [0]
    with pytest.raises(PoolError, match=r"E64.*ariv='positive'"):
        d3(np.array([4.0, 4]), np.array([5.0, 5]), 1)


def test_likelihood_of_a_mixed_model_by_its_dense_covariance() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat([0, 1, 2], [4, 3, 5])
    z = np.column_stack([np.ones(12), rng.normal(size=12)])
    r = rng.normal(size=12)
    psi = np.array([[0.5, 0.2], [0.2, 0.08]])  # singular
    v = (z @ psi @ z.T) * (codes[:, None] == codes) + 0.7 * np.eye(12)
    wanted = -0.5 * (12 * np.log(2 * np.pi) + np.linalg.slogdet(v)[1] + r @ np.linalg.solve(v, r))
    np.testing.assert_allclose(mixed_loglik(r, z, codes, psi, 0.7), wanted, rtol=1e-12)


def fits(terms: tuple[str, ...], **more: Any) -> list[Estimates]:
    k = len(terms)
    return [Estimates(terms, np.arange(k) + i, np.eye(k), **more) for i in (0.0, 0.1, 0.2)]


def test_log_likelihoods_of_fits_are_enough_for_d2() -> None:
    full, null = fits(("a", "b"), loglik=-10.0), fits(("a",), loglik=-13.0)
    found = compare_models(full, null, method="D2", use="likelihood")
    pd.testing.assert_frame_equal(found, pool_chi2([6.0] * 3, 1))
    table = anova(null, full)
    assert table[["method", "df1"]].to_numpy().tolist() == [["D2", 1.0]]
    np.testing.assert_allclose(table["F.value"], 6)


def test_too_few_imputations_for_small_sample_degrees_of_freedom() -> None:
    with pytest.warns(JaxMiceWarning, match="W29"):
        found = compare_models((Q[:3], U[:3]), PAIR, dfcom=50)
    pd.testing.assert_frame_equal(found, compare_models((Q[:3], U[:3]), PAIR))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_models(fits(("a",)), fits(("b",))), "E43.*not in the full model: b"),
        (lambda: compare_models(fits(("a",)), fits(("a",))), "E43.*same coefficients"),
        (lambda: compare_models(fits(("a",)), fits(("a",))[:2]), "E43.*3 and 2 imputations"),
        (
            lambda: compare_models(fits(("a", "b"), nobs=9), fits(("a",), nobs=8)),
            "E43.*different rows",
        ),
        (
            lambda: compare_models(fits(("a",)), fits(("a",)), method="D2", use="likelihood"),
            "E43.*more parameters",
        ),
        (lambda: compare_models(fits(("a", "b")), fits(("a",)), method="D3"), "E45.*D3"),
        (
            lambda: compare_models(
                fits(("a", "b"), reml=True), fits(("a",)), "D2", use="likelihood"
            ),
            "E45.*D2",
        ),
        (lambda: compare_models(fits(("a", "b")), "b", method="D4"), "E45.*as analyses"),
        (lambda: compare_models((Q, U), PAIR, method="D5"), "E64.*method"),
        (lambda: compare_models((Q, U), PAIR, use="score"), "E64.*use"),
        (lambda: compare_models((Q, U), PAIR, ariv="robust"), "E64.*ariv"),
        (lambda: compare_models((Q, U), PAIR, dfcom=3), "E64.*too small"),
        (lambda: compare_models((Q, U), PAIR, dfcom="inf"), "E64.*'residual'"),
        (
            lambda: compare_models(SimpleNamespace(model="y ~ a"), SimpleNamespace(model="z ~ 1")),
            "E43.*outcomes: y, z",
        ),
        (lambda: pool((Q, U)).summary("all"), "E65.*conf_int"),
        (lambda: compare_models((Q[:1], U[:1]), PAIR), "E64.*at least 2"),
        (lambda: compare_models((Q, U), [*PAIR, "term1"]), "E64.*singular"),
        (lambda: compare_models((Q, U), [*PAIR, "term1"], "D2"), "E64"),
        (lambda: constraint_test((Q, U), []), "E66.*at least one"),
        (lambda: constraint_test((Q, U), "term1 = 1 = 2"), "E66.*form"),
        (lambda: constraint_test((Q, U), "term1 + sex"), "E66.*no 'sex'.*term1, term2"),
        (lambda: constraint_test((Q, U), "term1 +"), "E66.*cannot be read"),
        (lambda: constraint_test((Q, U), "abs(term1)"), "E66.*exp, log, sqrt"),
        (lambda: constraint_test((Q, U), "log(0 - term1)"), "E66.*not a finite"),
        (lambda: constraint_test((Q, U), "1 = 2"), "E66.*does not depend"),
        (lambda: constraint_test((Q, U), "term1", "D3"), "E64.*D1.*D2"),
        (lambda: pool_chi2([1.0, -1.0], 1), "E64.*negative"),
        (lambda: pool_chi2([1.0], 1), "E64.*at least 2"),
        (lambda: anova(fits(("a",))), "E64.*at least 2 models"),
    ],
)
def test_complaints(call: Callable[[], object], message: str) -> None:
    with pytest.raises(PoolError, match=message):
        call()
